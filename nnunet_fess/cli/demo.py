"""`nnunet_fess demo`: the whole path once, on a small phantom, in a few minutes; on a CPU or a GPU, without a download."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

from nnunet_fess import arguments
from nnunet_fess.demo import pipeline, report, workdir
from nnunet_fess.demo.trainers import DEFAULT, choose
from nnunet_fess.errors import UserError
from nnunet_fess.processes.stopping import terminable

# Phantoms are easy: a whole-tumour Dice below this means that something in the path is broken.
REGION, MINIMUM = "whole tumor", 0.7


def main(argv: Sequence[str]) -> int:
    """Run the demo and print its table."""
    args = _parser().parse_args(argv)
    trainers = choose([name for name in args.trainers.split(",") if name], args.seed)
    if not trainers:
        raise UserError("--trainers is empty. Name at least one, such as nnUNetTrainerFESS.")
    pipeline.program_path()  # before anything is written
    device = _device(args.device)
    start = time.monotonic()
    with terminable(), workdir.claim(args.workdir) as claimed:
        print(f"Working directory {claimed.path}, device {device}, output of all commands in {pipeline.LOG}", flush=True)
        scores = pipeline.run(claimed, trainers, device, args.seed, _cores())
        if not args.keep:
            claimed.remove(*pipeline.INTERMEDIATE)
    print(f"\nHeld-out patients after {(time.monotonic() - start) / 60:.1f} minutes:\n{report.table(scores)}")
    print(f"\nResults: {claimed.path / pipeline.RESULTS}, pictures: {claimed.path / 'overlay_*.png'}")
    poor = [f"{name} {score.dice[REGION]:.3f}" for name, score in scores.items() if not score.dice[REGION] >= MINIMUM]
    if poor:
        raise UserError(f"{REGION} Dice must reach {MINIMUM} for every trainer, but: {', '.join(poor)}. It has not learnt.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nnunet_fess demo",
        description="Makes a phantom download in BraTS 2017's layout, then converts, plans, trains, predicts and evaluates "
        "with the commands a user would type, and shows each of them. Takes minutes on two cores.",
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        default=Path("nnunet_fess_demo"),
        help="new, empty or an earlier demo's; results, pictures and log stay there (default: ./%(default)s)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep download and nnU-Net's folders too, to go on with the commands shown"
    )
    parser.add_argument(
        "--trainers",
        default=",".join(DEFAULT),
        metavar="A,B",
        help="trainers to compare; options may be spelt out (nnUNetTrainerFESS_12epochs), nnU-Net's own trainers keep their "
        "own length (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=arguments.whole_number(0, 2**32 - 1),
        default=0,
        help="of phantom, split and trainings (default: %(default)s)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if there is one")
    return parser


def _device(wish: str) -> str:
    import torch  # here, because it takes seconds that --help should not

    available = torch.cuda.is_available()
    if wish == "cuda" and not available:
        raise UserError("--device cuda: torch finds no GPU on this machine. Leave it out, or use --device cpu.")
    return "cpu" if wish == "cpu" or not available else "cuda"


def _cores() -> int:
    """Cores this process may use, which under a scheduler or in a container are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
