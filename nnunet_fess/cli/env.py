"""`nnunet_fess env`: the line that makes nnU-Net find these trainers."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from nnunet_fess.extension import DIRECTORY, VARIABLE

_LINES = {
    "bash": lambda value: f"export {VARIABLE}={shlex.quote(value)}",
    "fish": lambda value: f"set -gx {VARIABLE} {_fish_quote(value)}",
    "powershell": lambda value: f"$env:{VARIABLE} = '{value.replace(chr(39), chr(39) * 2)}'",
}


def main(argv: Sequence[str]) -> int:
    """Print the line for the shell, or with `--path` the directory alone."""
    parser = argparse.ArgumentParser(
        prog="nnunet_fess env",
        description=__doc__,
        epilog='bash, zsh: eval "$(nnunet_fess env)"   fish: nnunet_fess env --shell fish | source   '
        "PowerShell: nnunet_fess env --shell powershell | Invoke-Expression",
    )
    parser.add_argument(
        "--shell", choices=_LINES, default="powershell" if os.name == "nt" else "bash", help="default: %(default)s"
    )
    parser.add_argument("--path", action="store_true", help="print the directory only")
    args = parser.parse_args(argv)
    print(DIRECTORY if args.path else _LINES[args.shell](_value(os.environ.get(VARIABLE))))
    return 0


def _value(present: str | None) -> str:
    """Our directory first, then whatever other extensions are set already; nothing twice."""
    others = [path for path in (present or "").split(os.pathsep) if path.strip() and Path(path).resolve() != DIRECTORY]
    return os.pathsep.join([str(DIRECTORY), *others])


def _fish_quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
