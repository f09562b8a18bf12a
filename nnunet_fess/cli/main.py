"""`nnunet_fess COMMAND …`: finds the command's module and runs it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from nnunet_fess import __version__, arguments, program

# Command -> its module, with a `main(argv) -> int`, and one line of help. A module is imported only when it is called:
# `nnunet_fess env` runs in every shell start-up and must not wait for torch. The converters stand beside this package.
COMMANDS = {
    "env": ("nnunet_fess.cli.env", "print the line that makes nnU-Net find these trainers"),
    "trainers": ("nnunet_fess.cli.trainers", "list every trainer, its options and defaults"),
    "convert": ("dataset_conversion.cli", "write a raw download in nnU-Net's format"),
    "splits": ("dataset_conversion.splits", "append folds that train on fewer cases"),
    "evaluate": ("nnunet_fess.cli.evaluate", "compare two folders of segmentations: overlap, surface distances, lesions"),
    "restore": ("dataset_conversion.restore", "give predictions the challenge's labels and file names"),
    "plans": ("nnunet_fess.cli.plans", "plans for another network, patch or batch size, or for a CPU"),
    "cpu-plans": ("nnunet_fess.cli.cpu_plans", "the same as plans --cpu"),
    "share": ("nnunet_fess.cli.share", "a copy of a model that predicts without this package"),
    "preview": ("nnunet_fess.cli.preview", "draw what a loss sees on a case of yours: contours, weights"),
    "doctor": ("nnunet_fess.cli.doctor", "what is wrong with this installation, and what to do"),
    "study": ("nnunet_fess.cli.study", "compare losses fairly, from one file to the tables"),
    "demo": ("nnunet_fess.cli.demo", "the whole path once, on a small phantom, in a few minutes"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; exit code 0 done, 1 a mistake, told in one line, 2 wrong arguments, 130 Ctrl-C, 141 `| head`."""
    words = list(sys.argv[1:] if argv is None else argv)
    # REMAINDER starts at the first word that is no option, so that is the command.
    command = next((word for word in words if word in COMMANDS), None)
    name = f"nnunet_fess {command}" if command else "nnunet_fess"
    return program.run(name, lambda: _run(name, words))


def _run(name: str, words: Sequence[str]) -> int:
    parser = arguments.parser(
        "nnunet_fess",
        "FESS and contour-weighted losses for nnU-Net v2.",
        "commands:\n" + "\n".join(f"  {command:<10} {text}" for command, (_, text) in COMMANDS.items()),
    )
    parser.add_argument("--version", action="version", version=f"nnunet-fess {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those listed below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see  nnunet_fess COMMAND --help")
    if not words:
        parser.print_help()
        return 0
    chosen = parser.parse_args(words)
    with program.nothing_to_undo(name):
        module = importlib.import_module(COMMANDS[chosen.command][0])
    code: int = module.main(chosen.arguments)
    return code
