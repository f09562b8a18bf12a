"""How much memory a command's processes hold together; on Linux, elsewhere it is not known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

_DEAREST = 0.005  # share of our time that looking may cost
_SHORTEST = 1.0  # seconds between two looks


class Meter:
    """Keeps the largest of what it has seen of a process and its descendants.

    Pages that processes share are counted once (Linux's PSS). Looking costs a millisecond per process, hence is done the more
    seldom the more it costs.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak_mb: float | None = None
        self._next = 0.0

    def look(self) -> None:
        """Look, if it is time again."""
        begin = time.monotonic()
        if begin < self._next:
            return
        seen = [size for pid in _family(self.pid) if (size := _proportional_kb(pid)) is not None]
        if seen:
            self.peak_mb = max(self.peak_mb or 0.0, round(sum(seen) / 1024, 1))
        spent = time.monotonic() - begin
        self._next = begin + spent + max(_SHORTEST, spent / _DEAREST)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # it has just ended
            continue
        for child in children:
            yield from _family(int(child))


def _proportional_kb(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), None)
