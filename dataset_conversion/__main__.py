"""`python -m dataset_conversion DATASET SOURCE…`, which is `nnunet_fess convert DATASET SOURCE…`."""

from __future__ import annotations

import sys

from nnunet_fess import program

PROG = "python -m dataset_conversion"


def main() -> int:
    """Convert one download; returns the exit code."""
    with program.nothing_to_undo(PROG):
        from dataset_conversion.cli import main as convert
    return convert(prog=PROG)


if __name__ == "__main__":
    sys.exit(program.run(PROG, main))
