"""`nnunet_fess cpu-plans`: `nnunet_fess plans --cpu` under its first name."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_fess import arguments
from nnunet_fess.cli import plans


def main(argv: Sequence[str]) -> int:
    """Write nnUNetPlansCPU.json beside the dataset's plans and print how to use it."""
    parser = arguments.parser(
        "nnunet_fess cpu-plans",
        "Write smaller plans beside a dataset's own: fewer features and convolutions, batch 2. The preprocessed data\n"
        "stay as they are and are shared. For trying things out; train on a GPU with nnU-Net's own plans for results.\n"
        "The same as  nnunet_fess plans --cpu.",
    )
    plans.add_arguments(parser)
    parser.add_argument("-o", "--output", metavar="NAME", help="default: PLANS, NETWORK, CPU joined, such as nnUNetPlansCPU")
    parser.set_defaults(cpu=True)
    return plans.run(parser.parse_args(argv), parser)
