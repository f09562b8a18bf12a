"""What the demo measured: Dice per region and seconds per step, read from nnU-Net's own files; the table and the JSON."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_fess.files import read_json, write_json

ON_TIME = (
    "Seconds per step: nnU-Net's epoch time, its few validation steps included, over training steps, median of the epochs.\n"
    "What else this machine was doing is in it."
)
_EPOCH_TIME = re.compile(r"Epoch time: ([\d.]+) s")


@dataclass(frozen=True)
class Score:
    """One trainer's results.

    Attributes:
        dice: region → mean Dice of the held-out patients.
        seconds_per_step: see `seconds_per_step`.
    """

    dice: dict[str, float]
    seconds_per_step: float


def seconds_per_step(fold: Path) -> float:
    """Seconds per training iteration: nnU-Net's "Epoch time", median over the epochs, divided by the iterations per epoch.

    The median leaves out the first epoch's start-up. The few validation iterations are part of nnU-Net's epoch time.

    Args:
        fold: the folder of a finished training; its `training_log_*.txt` has the times, its `debug.json` the iterations.
    """
    text = "".join(log.read_text("utf-8", errors="replace") for log in sorted(fold.glob("training_log_*.txt")))
    times = [float(seconds) for seconds in _EPOCH_TIME.findall(text)]
    iterations = int(read_json(fold / "debug.json")["num_iterations_per_epoch"])
    return statistics.median(times) / iterations


def table(scores: Mapping[str, Score]) -> str:
    """The results as text, one line per trainer."""
    regions = list(next(iter(scores.values())).dice)
    rows = [["", *(f"{region} Dice" for region in regions), "seconds per step"]]
    rows += [
        [name, *(f"{score.dice[region]:.3f}" for region in regions), f"{score.seconds_per_step:.3f}"]
        for name, score in scores.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def caption(patients: int, seed: int) -> str:
    """What the table is, and what it is not."""
    return (
        f"Dice on {patients} held-out phantoms, one short training per loss, seed {seed}: it shows that the whole path works "
        "on this machine.\nPhantoms are no patients, and so few of them with one seed cannot tell which loss is better."
    )


def write_results(target: Path, scores: Mapping[str, Score], context: Mapping[str, Any]) -> None:
    """Write `{"trainers": {name: {"dice": {region: …}, "seconds_per_step": …}}}` and, beside "trainers", the context's keys."""
    trainers = {name: asdict(score) for name, score in scores.items()}
    for score in trainers.values():  # JSON has no NaN, which nnU-Net says of a region that is nowhere
        score["dice"] = {region: None if math.isnan(value) else value for region, value in score["dice"].items()}
    content = {"trainers": trainers, **context}
    write_json(target, content)
