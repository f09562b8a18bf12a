"""The parts of the loss, epoch by epoch: `loss_components.csv` and `loss_components.png` beside nnU-Net's `progress.png`.

nnU-Net's own logger accepts the eight series it knows and no others, hence files of our own.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch.distributed as dist
from torch import Tensor, nn

from nnunet_fess.files import whole
from nnunet_fess.trainers.components_figure import draw

CSV_NAME, FIGURE_NAME = "loss_components.csv", "loss_components.png"
SPATIAL, FEATURE, OTHER = "spatial", "feature", "other"
SHARE, REJECTED = "feature_gradient_share", "rejected_embeddings"
_COLUMNS = frozenset({"epoch", SPATIAL, FEATURE, OTHER, SHARE, REJECTED})
# Of the sizes of the parts: what float32 may lose in a sum.
_ROUNDING = 1e-4


@dataclass
class _Series:
    """A running sum on the device of its values, since reading them would hold up a GPU."""

    part_of: str | None
    total: Tensor | float = 0.0
    steps: int = 0

    def add(self, value: Tensor) -> None:
        value = value.detach()
        self.total = self.total + (value if value.device.type == "mps" else value.double())  # MPS has no float64
        self.steps += 1


class Components(nn.Module):
    """Means over the training steps of each epoch.

    The history is the module's state, so that a checkpoint takes it along and a resumed training continues it.

    Attributes:
        history: one row per epoch, name → value, "epoch" first.
        latest: the values of the step that ran last.
        parts: the names, of all rows, that are parts of "spatial".
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: list[dict[str, float]] = []
        self.latest: dict[str, Tensor] = {}
        self.parts: list[str] = []
        self._series: dict[str, _Series] = {}

    def add(self, name: str, value: Tensor, parts: Mapping[str, Tensor] | None = None) -> None:
        """Take one step's value.

        Args:
            name: "spatial", with which a step begins, or "feature".
            value: scalar on any device.
            parts: name → what it contributes to the value; one that is missing in a step has contributed 0.
        """
        if name == SPATIAL:
            self.latest = {}
        self._take(name, None, value)
        for part, contribution in (parts or {}).items():
            self._take(f"part_{part}" if part in _COLUMNS else part, name, contribution)

    def _take(self, name: str, part_of: str | None, value: Tensor) -> None:
        self.latest[name] = value.detach()
        self._series.setdefault(name, _Series(part_of)).add(value)

    def close_epoch(self, epoch: int, **more: float) -> dict[str, float]:
        """Turn the steps since the last call into a row of the history, mean over the steps and over DDP's ranks.

        The mean of a part is over the steps of what it is a part of, so that the parts add up to it; what they leave is in the
        column "other".

        Args:
            epoch: the row's number; rows from it on, of a run that was cut off, are replaced.
            more: further columns.
        """
        here = {name: (series.part_of, float(series.total), series.steps) for name, series in self._series.items()}
        self._series = {}
        wholes: dict[str, str | None] = {}
        totals: dict[str, float] = {}
        steps: dict[str, int] = {}
        for rank in _of_all_ranks(here):  # by name: a rank whose voxels were all ignored has other parts than its neighbour
            for name, (part_of, total, count) in rank.items():
                wholes[name] = part_of
                totals[name] = totals.get(name, 0.0) + total
                steps[name] = steps.get(name, 0) + count
        row = {"epoch": float(epoch)} | {name: total / steps[wholes[name] or name] for name, total in totals.items()}
        parts = [name for name, part_of in wholes.items() if part_of]
        if parts:
            left = row[SPATIAL] - sum(row[part] for part in parts)
            if abs(left) > _ROUNDING * (abs(row[SPATIAL]) + sum(abs(row[part]) for part in parts)):
                row[OTHER] = left
                parts.append(OTHER)
        self.parts = list(dict.fromkeys([*self.parts, *parts]))
        self.history = [*(old for old in self.history if old["epoch"] < epoch), row | more]
        return self.history[-1]

    def write(self, folder: Path, title: str = "") -> None:
        """Write table and figure, each complete or not at all.

        Args:
            folder: where to.
            title: of the figure: the trainer's name.
        """
        columns = list(dict.fromkeys(name for row in self.history for name in row))
        with whole(folder / CSV_NAME) as unfinished, unfinished.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(row | {"epoch": int(row["epoch"])} for row in self.history)
        with whole(folder / FIGURE_NAME) as unfinished:
            draw(self.history, self.parts, title).savefig(unfinished, format="png", dpi=150)

    def get_extra_state(self) -> dict[str, object]:
        """What goes into a checkpoint."""
        return {"history": self.history, "parts": self.parts}

    def set_extra_state(self, state: dict[str, object]) -> None:
        """Take up what a checkpoint holds, of any of our trainers and of any version."""
        self.history = list(state["history"])  # type: ignore[call-overload]
        self.parts = list(state.get("parts", []))  # type: ignore[call-overload]


def _of_all_ranks(here: dict[str, tuple[str | None, float, int]]) -> list[dict[str, tuple[str | None, float, int]]]:
    if not (dist.is_available() and dist.is_initialized()):
        return [here]
    everywhere: list[dict[str, tuple[str | None, float, int]]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(everywhere, here)
    return everywhere


def last_epoch(folder: Path) -> int | None:
    """The last epoch that the table in a folder holds; None without a table that can be read."""
    try:
        with (folder / CSV_NAME).open(newline="") as file:
            return max((int(row["epoch"]) for row in csv.DictReader(file)), default=None)
    except (OSError, KeyError, ValueError, TypeError):
        return None
