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

from nnunet_fess.files import PARTIAL, held_alone


@contextlib.contextmanager
def staged(folder: Path, identity: str, say: Callable[[str], None]) -> Iterator[Path]:
    """A hidden folder that becomes `folder` at the end of the block; on an error it is removed.

    A killed or interrupted process leaves it behind for the next one. An existing `folder` is replaced.

    Args:
        folder: the target.
        identity: hash of source and options.
        say: told what was found of an earlier run.

    Raises:
        UserError: another process is writing the same dataset.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{folder.name}.lock")
    with held_alone(lock, f"another process is writing {folder}; wait for it"):
        try:
            with _staged(folder, identity, say) as staging:
                yield staging
        finally:
            with contextlib.suppress(OSError):  # Windows removes no open file, but does at its release
                lock.unlink()


@contextlib.contextmanager
def _staged(folder: Path, identity: str, say: Callable[[str], None]) -> Iterator[Path]:
    """`staged` for the one process that may."""
    staging = folder.with_name(f".{folder.name}.partial-{identity[:12]}")
    for other in sorted(folder.parent.glob(f".{folder.name}.partial-*")):
        if other != staging:
            say(f"an unfinished conversion of another source or with other options was found and removed: {other}")
            shutil.rmtree(other)
    if staging.exists():
        say(f"going on with an unfinished conversion: {staging}")
    staging.mkdir(exist_ok=True)
    for part in staging.rglob(f".*{PARTIAL}"):
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
