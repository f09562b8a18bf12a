"""Makes `kill` and a closed terminal end us as Ctrl-C does; and how a training is asked to stop at the end of its epoch."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

# Names a file. When it is there, our trainers write a checkpoint at the end of their epoch, take the file away and stop. A
# file and no signal: a training has many processes, of which only the first would know what to do with one.
VARIABLE = "nnUNet_fess_stop"
STOPPED = 75  # exit code of what has stopped so and is to be called again (EX_TEMPFAIL)


def asked_to_stop() -> bool:
    """Whether a training is to stop at the end of its epoch."""
    path = os.environ.get(VARIABLE)
    return bool(path) and Path(str(path)).exists()


def acknowledge() -> None:
    """Take the file away: the checkpoint is written."""
    with suppress(OSError):
        Path(os.environ[VARIABLE]).unlink()


@contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP unwind the stack, so that running commands are ended too."""
    numbers = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {number: signal.signal(number, _stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
