"""The dataset folder exists whole or not at all, whatever ends the process.

Everything is written to a hidden folder beside it, whose name carries a hash of what will be in it: a second run with the
same source and options goes on with what a killed one has left, any other run removes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from dataset_conversion.errors import ConversionError

try:
    import fcntl
except ImportError:  # Windows: two conversions of one dataset at the same time are then not noticed
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def staged(folder: Path, identity: str, say: Callable[[str], None]) -> Iterator[Path]:
    """A hidden folder that becomes `folder` at the end of the block; on an error it is removed.

    A killed or interrupted process leaves it behind for the next one. An existing `folder` is replaced.

    Args:
        folder: the target.
        identity: hash of source and options.
        say: told what was found of an earlier run.

    Raises:
        ConversionError: another process is writing the same dataset.
    """
    staging = folder.with_name(f".{folder.name}.partial-{identity[:12]}")
    for other in sorted(folder.parent.glob(f".{folder.name}.partial-*")):
        if other != staging:
            with _locked(other):
                say(f"an unfinished conversion of another source or with other options was found and removed: {other}")
                shutil.rmtree(other)
    if staging.exists():
        say(f"going on with an unfinished conversion: {staging}")
    staging.mkdir(parents=True, exist_ok=True)
    with _locked(staging):
        for part in staging.rglob(".*.part"):
            part.unlink()
        try:
            yield staging
        except Exception:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        remove_replaced(folder)
        if os.path.lexists(folder):
            folder.rename(_replaced(folder))
        staging.rename(folder)
        remove_replaced(folder)


def remove_replaced(folder: Path) -> None:
    """Remove what `folder` replaced, which a process that was killed in the last moment leaves behind."""
    _remove(_replaced(folder))


def _replaced(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold `folder` alone; the lock ends with the process, so none is left behind."""
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConversionError(f"another process is writing {folder}; wait for it") from error
        except OSError:
            pass  # a file system without locks: two conversions at the same time are then not noticed
        yield
    finally:
        os.close(descriptor)
