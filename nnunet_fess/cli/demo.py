"""`nnunet_fess demo`: the whole path once, on a small phantom, in a few minutes; on a CPU or a GPU, without a download."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from nnunet_fess import arguments
from nnunet_fess.demo import pipeline, report, workdir
from nnunet_fess.demo.trainers import DEFAULT, choose
from nnunet_fess.errors import UserError
from nnunet_fess.machine import cores
from nnunet_fess.processes.stopping import terminable

# Phantoms are easy: a whole-tumour Dice below this means that something in the path is broken.
REGION, MINIMUM = "whole tumor", 0.7
_PLACE, _DATA_PLACE = "nnunet_fess_demo", "nnunet_fess_phantom"


def main(argv: Sequence[str]) -> int:
    """Run the demo and print its table."""
    args = _parser().parse_args(argv)
    trainers = choose([name for name in args.trainers.split(",") if name], args.seed)
    if not trainers:
        raise UserError("--trainers is empty. Name at least one, such as nnUNetTrainerFESS.")
    pipeline.program_path()  # before anything is written
    device = _device(args.device)
    start = time.monotonic()
    place = args.workdir or workdir.first_free(Path(_DATA_PLACE if args.data_only else _PLACE))
    with terminable(), workdir.claim(place, args.overwrite, pipeline.made_of(args.seed)) as claimed:
        print(f"Working directory {claimed.path}, device {device}, output of all commands in {pipeline.LOG}", flush=True)
        if args.data_only:
            pipeline.prepare(claimed, args.seed, cores())
            print(f"\nThe phantom is prepared. A study on it:\n{_study(claimed.path)}")
            return 0
        scores = pipeline.run(claimed, trainers, device, args.seed, cores())
    patients = len(list(claimed.path.glob("overlay_*.png")))
    print(f"\n{report.caption(patients, args.seed)}\n\n{report.table(scores)}\n\n{report.ON_TIME}")
    print(
        f"\nTook {(time.monotonic() - start) / 60:.1f} minutes. The report: {claimed.path / pipeline.REPORT}\n"
        f"Beside it {workdir.RESULTS}, overlay_*.png, and for the commands above the phantom download, nnU-Net's folders with "
        "the trained models, and the predictions."
    )
    poor = [f"{name} {score.dice[REGION]:.3f}" for name, score in scores.items() if not score.dice[REGION] >= MINIMUM]
    if poor:
        raise UserError(f"{REGION} Dice must reach {MINIMUM} for every trainer, but: {', '.join(poor)}. It has not learnt.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = arguments.parser(
        "nnunet_fess demo",
        "Makes a phantom download in BraTS 2017's layout, converts and plans it, and compares\n"
        "losses on it in a study that leaves a report, with the commands a user would type,\n"
        "each of which it shows. Takes four to six minutes on two idle cores, and several times\n"
        "that where other programs run. Stopped, it goes on where it was.",
    )
    parser.add_argument(
        "--workdir",
        type=Path,
        help="new, empty, or of a demo that was not finished; all that it makes, some 50 MB, stays there (default: "
        f"./{_PLACE}, or the first of {_PLACE}_2, … without results)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a finished demo's results in --workdir")
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)  # what it asked for is now always done
    parser.add_argument(
        "--data-only", action="store_true", help="make and prepare the phantom, train nothing: for a study of your own"
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


def _study(folder: Path) -> str:
    """The commands that go on from prepared data."""
    roots = [f"{name}={shlex.quote(str(folder / name))}" for name in ("nnUNet_raw", "nnUNet_preprocessed")]
    return "\n".join(
        [
            f"  export {' '.join(roots)}",
            "  nnunet_fess study init --preset quick > study.yaml",
            "  nnunet_fess study run study.yaml",
        ]
    )


def _device(wish: str) -> str:
    import torch  # here, because it takes seconds that --help should not

    available = torch.cuda.is_available()
    if wish == "cuda" and not available:
        raise UserError("--device cuda: torch finds no GPU on this machine. Leave it out, or use --device cpu.")
    return "cpu" if wish == "cpu" or not available else "cuda"
