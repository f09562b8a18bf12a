"""Files that exist whole or not at all, whatever ends the process; and folders that one process holds alone."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nnunet_fess.errors import UserError

PARTIAL = ".part"
_WRITERS = 32  # of one file at once, before another one's part has no name that can be taken over
# What may stand in a part's place and is none: another user's file, a link, a folder, a pipe nobody reads.
_TAKEN = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO)


def partial_of(path: Path) -> Path:
    """Where a file is written until it is whole, hidden beside it; a kill may leave it, the next writer takes it over."""
    return path.with_name(f".{path.name}{PARTIAL}")


def _other_partial_of(path: Path, which: str) -> Path:
    """The same for who finds the usual one taken."""
    return path.with_name(f".{path.name}.other-{which}{PARTIAL}")


def remove_partials(path: Path) -> None:
    """Remove what kills have left of a file that nobody writes at this moment."""
    others = path.parent.glob(_other_partial_of(path.with_name(glob.escape(path.name)), "*").name)
    for left in (partial_of(path), *others):
        with contextlib.suppress(IsADirectoryError, PermissionError):  # none of ours
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
        with _claimed(path) as unfinished:
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
    except (ValueError, RecursionError) as error:  # no text, a number of thousands of digits, a name that no file can have
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
def _claimed(path: Path) -> Iterator[Path]:
    """A part to write into that no other process writes into; removed if the block fails.

    A lock tells, which the system takes from a process that is killed. Where there are no locks every part has a name of its
    own, and what a kill leaves of it stays.
    """
    usual = (partial_of(path), *(_other_partial_of(path, str(number)) for number in range(1, _WRITERS)))
    with contextlib.ExitStack() as held:
        try:
            ours = next(part for part in usual if _locked(part, held))
        except (NotImplementedError, StopIteration):
            ours = _other_partial_of(path, secrets.token_hex(8))
        try:
            yield ours
        except BaseException:
            with contextlib.suppress(OSError):
                ours.unlink(missing_ok=True)
            raise


def _locked(path: Path, held: contextlib.ExitStack) -> bool:
    """Lock a part, made if need be and emptied, for as long as the stack is there; whether nobody else can have it.

    Raises:
        NotImplementedError: there are no locks here.
    """
    if os.name != "posix":  # Windows gives a file that is open no other name
        raise NotImplementedError
    import fcntl

    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno in _TAKEN and os.path.lexists(path):
            return False
        raise
    held.callback(os.close, descriptor)
    opened = os.fstat(descriptor)
    if not stat.S_ISREG(opened.st_mode) or opened.st_nlink > 1:  # a pipe, or a file that has another name, too
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        path.unlink(missing_ok=True)
        raise NotImplementedError from error
    try:  # whoever had it may have finished since we opened it, and given the file its later name
        if not os.path.samestat(opened, path.lstat()):
            return False
    except FileNotFoundError:
        return False
    os.ftruncate(descriptor, 0)
    return True


def _flush(path: Path) -> None:
    if os.name != "posix" and path.is_dir():  # Windows has no handle of a folder to flush
        return
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
