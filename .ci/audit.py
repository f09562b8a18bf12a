"""Known vulnerabilities of what is installed, from what pip-audit found (JSON on stdin): those of our own dependencies first.

Nothing on stdin means that pip-audit has not got its answer. Neither that nor a finding fails CI: the one is no fault of a
change, and the other is for a maintainer to judge, who may have to wait for somebody else's release.
"""

import json
import re
import sys
from importlib import metadata


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    """Print what is known."""
    text = sys.stdin.read()
    if not text.strip():
        print("SKIPPED: pip-audit could not be installed, or the vulnerability service could not be reached")
        return
    packages = json.loads(text)["dependencies"]
    ours = {normal(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in metadata.requires("nnunet-fess") or []}
    found = [package for package in packages if package.get("vulns")]
    for package in sorted(found, key=lambda package: (normal(package["name"]) not in ours, package["name"])):
        whose = "ours" if normal(package["name"]) in ours else "not ours"
        for vulnerability in package["vulns"]:
            mended = ", ".join(vulnerability["fix_versions"]) or "nothing yet"
            print(f"VULNERABLE: {package['name']} {package['version']} ({whose}): {vulnerability['id']}, mended by {mended}")
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    print(
        f"{len(packages) - len(unknown)} packages audited, {len(found)} vulnerable; unknown to the service: {unknown or 'none'}"
    )


if __name__ == "__main__":
    main()
