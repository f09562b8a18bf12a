"""`nnunet_fess COMMAND …`: finds the command's module and turns its user errors into one clear line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from nnunet_fess import __version__
from nnunet_fess.errors import UserError

# Command -> its module, with a `main(argv) -> int`, and one line of help. A module is imported only when it is called:
# `nnunet_fess env` runs in every shell start-up and must not wait for torch. The converters stand beside this package.
COMMANDS = {
    "env": ("nnunet_fess.cli.env", "print the line that makes nnU-Net find these trainers"),
    "trainers": ("nnunet_fess.cli.trainers", "list every trainer, its options and defaults"),
    "convert": ("dataset_conversion.cli", "write a raw download in nnU-Net's format"),
    "splits": ("dataset_conversion.splits", "append folds that train on fewer cases"),
    "restore": ("dataset_conversion.restore", "give predictions the challenge's labels and file names"),
    "plans": ("nnunet_fess.cli.plans", "plans for another network, patch or batch size, or for a CPU"),
    "cpu-plans": ("nnunet_fess.cli.cpu_plans", "the same as plans --cpu"),
    "preview": ("nnunet_fess.cli.preview", "draw the contour that a trainer would see on a case of yours"),
    "demo": ("nnunet_fess.cli.demo", "the whole path once, on a small phantom, in a few minutes"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 on success, 1 after a `UserError`, 2 after wrong arguments, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="nnunet_fess",
        description="FESS and contour-weighted losses for nnU-Net v2.",
        epilog="commands:\n" + "\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"nnunet-fess {__version__}")
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those listed below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see  nnunet_fess COMMAND --help")
    chosen = parser.parse_args(argv)
    module = importlib.import_module(COMMANDS[chosen.command][0])
    try:
        code: int = module.main(chosen.arguments)
    except UserError as error:
        print(f"nnunet_fess {chosen.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"nnunet_fess {chosen.command}: interrupted", file=sys.stderr)
        return 130
    return code
