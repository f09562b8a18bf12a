"""How a program of ours ends: one line and an exit code for whatever a user or the machine can cause, never a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType

from nnunet_fess.errors import UserError
from nnunet_fess.streams import make_readable

MISTAKE, INTERRUPTED, NOBODY_LISTENS = 1, 128 + signal.SIGINT, 128 + 13  # SIGPIPE, which Windows has no name for


def run(name: str, work: Callable[[], int]) -> int:
    """Do the work of one command line.

    Args:
        name: what the user typed, such as ``nnunet_fess convert``: the beginning of every message.
        work: does it and returns the exit code.

    Returns:
        The work's exit code; 1 after a `UserError` or when files or memory fail, 130 after Ctrl-C, 141 when whoever read
        the output (`| head`) has gone. argparse's SystemExit passes.
    """
    _open_what_is_closed()
    make_readable()
    try:
        try:
            return work()
        finally:
            _flush()
    except UserError as error:
        return _tell(name, str(error), MISTAKE)
    except KeyboardInterrupt:
        return _tell(name, "interrupted", INTERRUPTED)
    except BrokenPipeError:
        _silence(sys.stdout)
        return NOBODY_LISTENS
    except OSError as error:
        _silence(sys.stdout, unless_it_works=True)
        return _tell(name, _reason(error), MISTAKE)
    except MemoryError as error:
        return _tell(name, f"not enough memory. {error}".rstrip(), MISTAKE)


@contextlib.contextmanager
def nothing_to_undo(name: str) -> Iterator[None]:
    """While the block runs, Ctrl-C ends the process at once, with one line: for imports, where C code loses the exception.

    Only where Ctrl-C would have raised KeyboardInterrupt: not in a background job, which is deaf to it, nor in another thread.
    """
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def stop(number: int, frame: FrameType | None) -> None:
        os.write(2, f"{name}: interrupted\n".encode())
        os._exit(INTERRUPTED)

    with contextlib.suppress(ValueError):  # not the main thread
        if ours:
            signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            if ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """Processes that are started in the block never hear Ctrl-C: the terminal sends it to them too, and theirs is a traceback.

    Whoever starts them has to end them. On Windows, where signals cannot be held back, they turn deaf themselves, later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_what_is_closed() -> None:
    """Where the caller has closed a stream (`>&-`, a service), open nothing's: a file or pipe of ours would take its number.

    Whatever a library or a process that we start then writes as output would go into that file.
    """
    for stream in ("stdin", "stdout", "stderr"):
        if getattr(sys, stream) is None:
            setattr(sys, stream, open(os.devnull, "r" if stream == "stdin" else "w", encoding="utf-8"))  # noqa: PTH123, SIM115


def _flush() -> None:
    """Now, while a failure can be told: at the interpreter's end it would be a traceback."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _tell(name: str, message: str, code: int) -> int:
    if sys.stderr is not None:
        try:
            print(f"{name}: {message}", file=sys.stderr, flush=True)
        except OSError:
            _silence(sys.stderr)
    return code


def _reason(error: OSError) -> str:
    """`/data/x: Permission denied`, without Python's `[Errno 13]`."""
    files = " → ".join(
        str(os.fspath(file)) for file in (error.filename, error.filename2) if isinstance(file, str | os.PathLike)
    )
    reason = error.strerror or str(error) or type(error).__name__
    return f"{files}: {reason}" if files else reason


def _silence(stream: object, unless_it_works: bool = False) -> None:
    """Send what is still in the stream's buffer nowhere, so that the interpreter's own flush at the end does not fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if unless_it_works:
            try:
                stream.flush()  # type: ignore[attr-defined]
            except OSError:
                pass
            else:
                return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[attr-defined]
        os.close(nowhere)
