"""`nnunet_fess env`: the line that makes nnU-Net find these trainers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

from nnunet_fess import arguments
from nnunet_fess.errors import UserError
from nnunet_fess.extension import DIRECTORY, VARIABLE, with_ours
from nnunet_fess.streams import print_exactly

_SHELLS = ("bash", "zsh", "sh", "fish", "powershell")


def main(argv: Sequence[str]) -> int:
    """Print the line for the shell, or with `--path` the directory alone."""
    parser = arguments.parser(
        "nnunet_fess env",
        "Print the line that makes nnU-Net find these trainers.",
        "evaluate it, in every new shell or in the shell's start-up file:\n"
        '  bash, zsh, sh   eval "$(nnunet_fess env)"\n'
        "  fish            nnunet_fess env --shell fish | source\n"
        "  PowerShell      nnunet_fess env --shell powershell | Invoke-Expression",
    )
    default = "powershell" if os.name == "nt" else "bash"
    parser.add_argument("--shell", choices=_SHELLS, default=default, help="default: %(default)s")
    parser.add_argument("--path", action="store_true", help="print the directory only")
    args = parser.parse_args(argv)
    if os.pathsep in str(DIRECTORY):
        raise UserError(
            f"this package lies in {DIRECTORY}; {VARIABLE} is a list set apart by {os.pathsep!r}, so nnU-Net cannot be told "
            "such a path. Install the package into an environment whose path has none."
        )
    print_exactly(str(DIRECTORY) if args.path else line(args.shell, with_ours(os.environ.get(VARIABLE), DIRECTORY)))
    return 0


def line(shell: str, value: str) -> str:
    """What sets the variable to exactly this value in one of the shells."""
    if shell == "fish":
        return f"set -gx {VARIABLE} {_fish_quote(value)}"
    if shell == "powershell":
        return f"$env:{VARIABLE} = '{value.replace(chr(39), chr(39) * 2)}'"
    return f"export {VARIABLE}={shlex.quote(value)}"


def _fish_quote(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
