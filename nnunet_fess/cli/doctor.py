"""`nnunet_fess doctor`: what is wrong with this installation, and what to do."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict

from nnunet_fess import arguments
from nnunet_fess.doctor.examination import examine
from nnunet_fess.files import to_json
from nnunet_fess.machine import cores, versions

_REPORTED = ("nnunet-fess", "nnunetv2", "torch", "torchvision", "numpy", "batchgeneratorsv2", "acvl-utils", "monai", "timm")


def main(argv: Sequence[str]) -> int:
    """Print a line per check; the exit code is 1 if something is wrong, 0 if there are warnings at most."""
    parser = arguments.parser(
        "nnunet_fess doctor",
        "Look at Python, torch, nnU-Net, its folders, the trainers it finds, GPU and disk. One line each: fine, a warning,\n"
        "or wrong, with what to do. Takes some seconds. Exit code 1 if something is wrong.",
    )
    parser.add_argument("--json", action="store_true", help="for bug reports; it holds the paths of your folders")
    args = parser.parse_args(argv)

    found = []
    for finding in examine():
        found.append(finding)
        if not args.json:
            advice = f". {finding.advice}" if finding.advice else ""
            print(f"{finding.level:<8} {finding.check}: {finding.found}{advice}", flush=True)
    broken = [finding for finding in found if finding.level == "wrong"]
    if args.json:
        machine = {"system": platform.platform(), "cores": cores()}
        print(to_json({"versions": versions(_REPORTED), **machine, "findings": [asdict(finding) for finding in found]}), end="")
    else:
        warnings = sum(finding.level == "warning" for finding in found)
        print(f"\n{len(broken)} wrong, {warnings} warnings, {len(found) - len(broken) - warnings} fine")
    return 1 if broken else 0
