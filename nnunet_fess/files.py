"""Files that exist whole or not at all, whatever ends the process; and folders that one process holds alone."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nnunet_fess.errors import UserError

PARTIAL = ".part"


def partial_of(path: Path) -> Path:
    """Where a file is written until it is whole, hidden beside it; a kill may leave it, the next writer takes it over."""
    return path.with_name(f".{path.name}{PARTIAL}")


def remove_partials(path: Path) -> None:
    """Remove what kills have left of a file that nobody writes at this moment."""
    for left in path.parent.glob(f".{glob.escape(path.name)}*{PARTIAL}"):
        left.unlink(missing_ok=True)


@contextlib.contextmanager
def whole(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """A path to write to, which becomes `path` when the block ends well and is removed when it does not.

    Several processes may write the same file at once, as a study's jobs do its `runs.csv`: the last one's is what stays.

    Args:
        path: the file to make or to replace.
        durable: have it on the disk before it takes the name, so that not even a power cut leaves a file without content.
            Costs a disk's latency: for what cannot be made again, such as checkpoints.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with whole(folder / "a.txt") as unfinished:
        ...     _ = unfinished.write_text("all of it")
        >>> [file.name for file in folder.iterdir()]
        ['a.txt']
    """
    path = Path(path)
    unfinished = partial_of(path)
    try:
        with _claimed(unfinished) as unfinished:
            yield unfinished
            if durable:
                _flush(unfinished)
            unfinished.replace(path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        if error.filename is not None and str(error.filename) == str(unfinished):
            error.filename = str(path)  # a message names the file that was asked for
        raise


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content)


def write_text(path: str | Path, content: str) -> None:
    r"""Write UTF-8 text with \n at the end of lines, on every system, whole or not at all."""
    write_bytes(path, content.encode("utf-8", errors="surrogateescape"))


def to_json(content: Any, *, nan: bool = False) -> str:
    """Readable JSON in the given key order (that of regions matters to nnU-Net), in ASCII: file names need not be text."""
    return json.dumps(content, indent=2, allow_nan=nan) + "\n"


def write_json(path: str | Path, content: Any, *, nan: bool = False) -> None:
    """Write JSON whole or not at all.

    Args:
        path: the file to make or to replace.
        content: what it is to hold.
        nan: take NaN and infinity, which are no JSON; for copies of nnU-Net's files, in which they may be.

    Raises:
        ValueError: NaN or infinity, without `nan`.
    """
    write_text(path, to_json(content, nan=nan))


def read_json(path: str | Path) -> Any:
    """Content of a JSON file.

    Raises:
        UserError: it is missing, unreadable or no JSON; the message names file and line.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON: line {error.lineno}: {error.msg}.") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}.") from error


@contextlib.contextmanager
def held_alone(lock: str | Path, busy: str) -> Iterator[None]:
    """Hold a lock file for the block; it is free again when the process ends, however it ends.

    On a file system without locks (some clusters' Lustre), two at a time are not noticed.

    Args:
        lock: the file; it stays, empty.
        busy: the message if another process holds it.

    Raises:
        UserError: another process holds it.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(FileLock(lock, timeout=0))
        except Timeout:
            raise UserError(busy) from None
        except NotImplementedError:
            pass
        yield


def is_held(lock: str | Path) -> bool:
    """Whether a process holds a lock file alone at this moment; on a file system without locks, whether it may."""
    if not Path(lock).exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except (Timeout, NotImplementedError):
        return True


@contextlib.contextmanager
def _claimed(usual: Path) -> Iterator[Path]:
    """A file to write into that no other process writes into: the usual one, or one of our own where somebody may be at that.

    A lock tells, which the system takes from a process that is killed. Where there are no locks every file is one of our own,
    and what a kill leaves of it stays. Removed if the block fails.
    """
    with contextlib.ExitStack() as held:
        ours = usual if _locked(usual, held) else usual.with_name(f"{usual.stem}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            yield ours
        except BaseException:
            with contextlib.suppress(OSError):
                ours.unlink(missing_ok=True)
            raise


def _locked(path: Path, held: contextlib.ExitStack) -> bool:
    """Lock a file, made if need be, for as long as the stack is there; whether nobody else can have it."""
    if os.name != "posix":  # Windows gives a file that is open no other name
        return False
    import fcntl

    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o666)
    held.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        path.unlink(missing_ok=True)
        return False
    try:  # whoever had it may have finished since we opened it, and given the file its later name
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _flush(path: Path) -> None:
    if os.name != "posix" and path.is_dir():  # Windows has no handle of a folder to flush
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
