"""The parts of the loss, epoch by epoch: `loss_components.csv` and `loss_components.png` beside nnU-Net's `progress.png`.

nnU-Net's own logger accepts the eight series it knows and no others, hence files of our own.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.spatial import SpatialLoss

CSV_NAME, FIGURE_NAME = "loss_components.csv", "loss_components.png"


class Components(nn.Module):
    """Means over the training steps of each epoch.

    The history is the module's state, so that a checkpoint takes it along and a resumed training continues it.

    Attributes:
        history: one row per epoch, name → value, "epoch" first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: list[dict[str, float]] = []
        self._steps: dict[str, list[Tensor]] = {}

    def add(self, name: str, value: Tensor) -> None:
        """Take one step's value; it stays on its device, since reading it would hold up a GPU."""
        self._steps.setdefault(name, []).append(value.detach().double())

    def close_epoch(self, epoch: int, **more: float) -> dict[str, float]:
        """Turn the steps since the last call into a row of the history, mean over the steps and over DDP's ranks.

        Args:
            epoch: the row's number; rows from it on, of a run that was cut off, are replaced.
            more: further columns.
        """
        row = {"epoch": float(epoch)}
        for name, steps in sorted(self._steps.items()):  # the same order on every rank
            total, count = sum_over_ranks(torch.stack([torch.stack(steps).sum(), steps[0].new_tensor(len(steps))])).tolist()
            row[name] = total / count
        self._steps = {}
        self.history = [*(old for old in self.history if old["epoch"] < epoch), row | more]
        return self.history[-1]

    def write(self, folder: Path) -> None:
        """Write table and figure, each complete or not at all."""
        columns = list(dict.fromkeys(name for row in self.history for name in row))
        unfinished = folder / f"{CSV_NAME}.partial"
        with unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(row | {"epoch": int(row["epoch"])} for row in self.history)
        unfinished.replace(folder / CSV_NAME)
        unfinished = folder / f"{FIGURE_NAME}.partial"
        _figure(self.history, columns[1:]).savefig(unfinished, format="png")
        unfinished.replace(folder / FIGURE_NAME)

    def get_extra_state(self) -> dict[str, object]:
        """What goes into a checkpoint."""
        return {"history": self.history}

    def set_extra_state(self, state: dict[str, object]) -> None:
        """Take up what a checkpoint holds."""
        self.history = state["history"]  # type: ignore[assignment]


class SubTerms:
    """Records the sub-terms of a spatial loss.

    They are the components of a `SpatialLoss`; of any other, every direct child that returns a scalar, as nnU-Net's `dc` and
    `ce`.

    Args:
        loss: the loss of one deep-supervision scale, called once per scale.
        weights: of the scales for which it is called, in that order; what is recorded is the weighted sum, as in the loss.
        components: where it goes, in training only.
    """

    def __init__(self, loss: nn.Module, weights: Sequence[float], components: Components):
        self.weights = weights
        self.components = components
        self._scale = 0
        self._sums: dict[str, Tensor] = {}
        for name, part in loss.named_children():
            part.register_forward_hook(partial(self._part, name))
        loss.register_forward_hook(self._whole)

    def _part(self, name: str, _module: nn.Module, _inputs: object, value: object) -> None:
        if torch.is_tensor(value) and value.ndim == 0 and torch.is_grad_enabled():
            # Not every part runs at every scale: nnU-Net skips cross entropy where all voxels are ignored.
            self._sums[name] = self._sums.get(name, 0) + self.weights[self._scale] * value.detach()

    def _whole(self, loss: nn.Module, inputs: object, _value: object) -> None:
        if isinstance(loss, SpatialLoss) and len(loss.latest) > 1:  # a component alone is the loss itself
            for name, term in loss.latest.items():
                self._part(name, loss, inputs, term)
        self._scale = (self._scale + 1) % len(self.weights)
        if self._scale == 0:
            for name, value in self._sums.items():
                self.components.add(name, value)
            self._sums = {}


def _figure(history: list[dict[str, float]], columns: list[str]) -> Figure:
    """One panel per column, since their sizes differ by orders of magnitude."""
    figure = Figure(figsize=(8, 1 + 2 * len(columns)), layout="constrained")
    for axes, name in zip(figure.subplots(max(1, len(columns)), sharex=True, squeeze=False)[:, 0], columns, strict=False):
        axes.plot([row["epoch"] for row in history], [row.get(name, math.nan) for row in history], marker=".")
        axes.set_ylabel(name.replace("_", "\n"))
    figure.axes[-1].set_xlabel("epoch")
    return figure
