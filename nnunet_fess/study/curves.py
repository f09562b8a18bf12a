"""Training curves of a run, from what nnU-Net and our trainers leave in its folder."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

# What nnU-Net's training log says of an epoch, and what we call it.
_SAID = {"train_loss": "training loss", "val_loss": "validation loss"}
_EPOCH = re.compile(r": Epoch (\d{1,9})\s*$")
_VALUE = re.compile(rf": ({'|'.join(_SAID)}) (\S+)")
_DICE = re.compile(r": Pseudo dice \[(.*)\]")
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?|nan")
DICE = "Pseudo Dice"
COMPONENTS = "loss_components.csv"

Curve = Mapping[int, float]  # epoch → value


def training_curves(fold: Path) -> dict[str, Curve]:
    """Training loss, validation loss and nnU-Net's mean pseudo Dice by epoch.

    Args:
        fold: nnU-Net's folder of the training. A continued training has several logs; an epoch that was done twice counts as
            it was done last.

    Returns:
        name → epoch → value; what the logs do not say is left out.
    """
    found: dict[str, dict[int, float]] = {}
    for log in sorted(fold.glob("training_log_*.txt")):
        epoch = None
        for line in log.read_text("utf-8", errors="replace").splitlines():
            if match := _EPOCH.search(line):
                epoch = int(match[1])
            elif epoch is not None and (match := _VALUE.search(line)):
                found.setdefault(_SAID[match[1]], {})[epoch] = _number(match[2])
            elif epoch is not None and (match := _DICE.search(line)):
                values = [value for value in map(float, _NUMBER.findall(match[1])) if not math.isnan(value)]
                found.setdefault(DICE, {})[epoch] = sum(values) / len(values) if values else math.nan
    return {name: dict(sorted(curve.items())) for name, curve in found.items()}


def component_curves(fold: Path) -> dict[str, Curve]:
    """The parts of our trainers' losses by epoch; of other trainers, and of what is damaged, nothing."""
    path = fold / COMPONENTS
    if not path.is_file():
        return {}
    found: dict[str, dict[int, float]] = {}
    text = path.read_text("utf-8", errors="replace")
    with contextlib.suppress(csv.Error):  # what comes before it can be read
        for row in csv.DictReader(io.StringIO(text, newline="")):
            epoch = _number(row.pop("epoch", None) or "")
            if epoch.is_integer():
                for name, value in row.items():
                    if name and value:
                        found.setdefault(name, {})[int(epoch)] = _number(value)
    return dict(found)


def mean_curve(curves: Sequence[Curve]) -> dict[int, float]:
    """Mean over runs of the epochs that all of them have."""
    if not curves:
        return {}
    epochs = set.intersection(*(set(curve) for curve in curves))
    return {epoch: sum(curve[epoch] for curve in curves) / len(curves) for epoch in sorted(epochs)}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
