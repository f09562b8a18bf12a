"""Loss and gradient norm of every training step, as a figure: which losses are stable, and which train on nnU-Net's clipping.

    python benchmarks/gradient_norms.py 504 nnUNetTrainerRRW_seed0 nnUNetTrainerBoundary_seed0 -p nnUNetPlansCPU --steps 300 \
        --figure gradient_norms.png --json gradient_norms.json

Trains on fold 0 of a dataset that nnU-Net has preprocessed, with nnU-Net's own loop, optimizer and augmentation, the learning
rate that of a run's first epoch throughout. The norm is what nnU-Net clips at 12, before it is clipped. `_seedN` in a name
makes a run repeatable. Nothing but the two files is written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from step_time import provenance, trainer_class

from nnunet_fess.files import read_json
from nnunet_fess.folders import find_dataset

CLIPPED_AT = 12
AVERAGED = 10  # steps, for the thick lines


def main() -> int:
    """Train each in turn, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="number or name")
    parser.add_argument("trainers", nargs="+")
    parser.add_argument("-c", "--configuration", default="3d_fullres")
    parser.add_argument("-p", "--plans", default="nnUNetPlans")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--figure", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    os.environ["nnUNet_n_proc_DA"] = "0"  # batches in this process, so that the seed says all
    preprocessed = find_dataset(options.dataset, "nnUNet_preprocessed")
    runs = {name: train(name, preprocessed, options) for name in options.trainers}
    options.json.write_text(json.dumps({"machine": provenance(options.device), "steps": options.steps, "runs": runs}) + "\n")
    draw(runs, options.figure)
    for name, run in runs.items():
        clipped = sum(norm > CLIPPED_AT for norm in run["norm"]) / len(run["norm"])
        print(
            f"{name}: median norm {statistics.median(run['norm']):.3g}, highest {max(run['norm']):.3g}, clipped {clipped:.0%}"
        )
    return 0


def train(name: str, preprocessed: Path, options: argparse.Namespace) -> dict[str, list[float]]:
    """Loss and norm of each step."""
    found: dict[str, list[float]] = {"loss": [], "norm": []}
    clip = torch.nn.utils.clip_grad_norm_

    def clip_and_tell(*arguments: Any, **more: Any) -> torch.Tensor:
        norm = clip(*arguments, **more)
        found["norm"].append(float(norm))
        return norm

    with (
        tempfile.TemporaryDirectory() as results,
        mock.patch.dict(os.environ, nnUNet_results=results),
        contextlib.redirect_stdout(sys.stderr),
    ):
        trainer = trainer_class(name)(
            plans=read_json(preprocessed / f"{options.plans}.json") | {"continue_training": False},
            configuration=options.configuration,
            fold=0,
            dataset_json=read_json(preprocessed / "dataset.json"),
            device=torch.device(options.device),
        )
        trainer.on_train_start()
        trainer.on_epoch_start()
        trainer.on_train_epoch_start()
        with mock.patch("torch.nn.utils.clip_grad_norm_", clip_and_tell):
            for _ in range(options.steps):
                found["loss"].append(float(trainer.train_step(next(trainer.dataloader_train))["loss"]))
    return found


def draw(runs: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Two panels: loss and gradient norm over steps, thin as they are, thick averaged."""
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, (name, run) in enumerate(runs.items()):
        for panel, values in zip(panels, (run["loss"], run["norm"]), strict=True):
            style = {"color": f"C{number}", "linestyle": ("-", "--", "-.", ":")[number % 4]}
            panel.plot(values, color=style["color"], linewidth=0.4, alpha=0.35)
            panel.plot(averaged(values), linewidth=1.8, label=name.removeprefix("nnUNetTrainer"), **style)
    panels[1].axhline(CLIPPED_AT, color="black", linewidth=0.8, label=f"clipped at {CLIPPED_AT}")
    panels[1].set_yscale("log")
    for panel, what in zip(panels, ("loss", "gradient norm before clipping"), strict=True):
        panel.set_xlabel("step")
        panel.set_ylabel(what)
    panels[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def averaged(values: Sequence[float]) -> list[float]:
    """The mean of each step and of those before it."""
    return [statistics.fmean(values[max(0, i + 1 - AVERAGED) : i + 1]) for i in range(len(values))]


if __name__ == "__main__":
    raise SystemExit(main())
