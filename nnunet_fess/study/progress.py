"""How far a study is: read from its folder, shown as a line per running job."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_fess.study.results import LOG, Run, folder_of

_EPOCH = re.compile(r"^\S+ \S+: Epoch (\d+)\s*$", re.MULTILINE)
_EPOCH_TIME = re.compile(r"Epoch time: ([\d.]+) s")
_TAIL = 20_000  # bytes; an epoch is some 400


@dataclass(frozen=True)
class Now:
    """Where a training is.

    Attributes:
        text: for people.
        seconds_left: of the training; None where it cannot be told yet.
    """

    text: str
    seconds_left: float | None = None


def now(results: Path, run: Run) -> Now:
    """Where a running run is, from the end of its log."""
    step = run.steps[-1] if run.steps else None
    if step is None or " --val" in step.command or step.command.startswith("nnUNetv2_predict"):
        return Now("starts" if step is None else "validates" if " --val" in step.command else "predicts")
    text = tail(folder_of(results, run.id) / LOG, _TAIL)
    begin = text.rfind("\n$ ")
    epochs = _EPOCH.findall(text[begin + 1 :])
    if not epochs:
        return Now("starts")
    total = _total_epochs(run.model)
    epoch = int(epochs[-1])
    if "Training done." in text[begin + 1 :]:
        return Now("validates")
    times = [float(seconds) for seconds in _EPOCH_TIME.findall(text[begin + 1 :])]
    left = statistics.median(times) * (total - epoch) if times and total else None
    shown = f"epoch {epoch + 1}" + (f" of {total}" if total else "")
    return Now(shown + (f", about {duration(left)} left" if left is not None else ""), left)


def overview(runs: Sequence[Run], lefts: Mapping[str, float | None], parallel: int, total: int) -> str:
    """One line about the whole study.

    Args:
        runs: those that have a record.
        lefts: seconds left of the running ones, where known.
        parallel: how many run at once.
        total: how many runs there are.
    """
    counts = {status: sum(run.status == status for run in runs) for status in ("finished", "failed", "running")}
    waiting = total - sum(counts.values())
    parts = [f"{counts['finished']} of {total} runs done"]
    parts += [f"{counts[status]} {status}" for status in ("failed", "running") if counts[status]]
    parts += [f"{waiting} waiting"] if waiting else []
    lengths = [run.seconds for run in runs if run.status == "finished"]
    known = [left for left in lefts.values() if left is not None]
    if lengths and (waiting or known):
        mean = statistics.fmean(lengths)
        left = (waiting * mean + sum(lefts.get(run.id) or mean / 2 for run in runs if run.status == "running")) / max(
            1, parallel
        )
        parts.append(f"about {duration(left)} left")
    return ", ".join(parts)


class Board:
    """Redraws a few lines on a terminal; elsewhere it keeps quiet but for the news."""

    def __init__(self, every: float = 1.0) -> None:
        self.terminal = sys.stdout.isatty()
        self._every = every
        self._drawn = 0
        self._next = 0.0

    def due(self) -> bool:
        """Whether to compute the lines again."""
        return self.terminal and time.monotonic() >= self._next

    def show(self, lines: Sequence[str]) -> None:
        """Replace what was shown."""
        if not self.terminal:
            return
        width = shutil.get_terminal_size().columns
        self._clear()
        for line in lines:
            print(line[: width - 1], flush=False)
        self._drawn = len(lines)
        self._next = time.monotonic() + self._every
        sys.stdout.flush()

    def news(self, text: str) -> None:
        """A line that stays, above what is redrawn."""
        self._clear()
        self._next = 0.0
        print(text, flush=True)

    def _clear(self) -> None:
        if self._drawn:
            print(f"\x1b[{self._drawn}F\x1b[J", end="")
            self._drawn = 0


def tail(path: Path, size: int) -> str:
    """The end of a text file; nothing if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 20 min`, `5 days 4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(minutes / 60)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def _total_epochs(model: Path) -> int | None:
    try:
        return int(json.loads((model / "debug.json").read_bytes())["num_epochs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
