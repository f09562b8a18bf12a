"""nnU-Net's data loading processes: whichever way one of them ends, the training ends with the reason."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Process
from typing import Any

from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet_module

from nnunet_fess.trainers.errors import TrainingRefused

_PATIENCE = 5.0  # seconds


@dataclass(frozen=True)
class Failure:
    """What a worker hands over in place of a batch.

    Attributes:
        kind: name of the exception's class.
        message: what it says.
        trace: its traceback, as text: the exception itself may hold what no other process can have.
    """

    kind: str
    message: str
    trace: str


class WorkerFailed(RuntimeError):
    """A data loading process ended with an exception, which the message tells with its traceback."""


class InWorker:
    """Hands a loader's batches through, and its exception as a `Failure`; whatever else the loader has stays visible."""

    def __init__(self, data_loader: Any):
        self.data_loader = data_loader

    def __getattr__(self, name: str) -> Any:
        """What the loader has."""
        if name == "data_loader":  # not there yet while a new process unpickles this
            raise AttributeError(name)
        return getattr(self.data_loader, name)

    def set_thread_id(self, thread_id: int) -> None:
        """The worker says which one it is."""
        self.data_loader.set_thread_id(thread_id)

    def __iter__(self) -> Iterator[Any]:
        """Itself."""
        return self

    def __next__(self) -> Any:
        """The loader's next batch, or in its place how that failed."""
        try:
            return next(self.data_loader)
        except (StopIteration, KeyboardInterrupt):
            raise
        except Exception as error:
            return {"failure": Failure(type(error).__name__, str(error), traceback.format_exc())}


def batch_of(get: Callable[[], Any], processes: Callable[[], list[Process]], finish: Callable[[], None]) -> Any:
    """The next batch of some workers.

    Args:
        get: batchgenerators' own `__next__`.
        processes: the workers.
        finish: ends them.

    Raises:
        WorkerFailed: one of them raised an exception.
        TrainingRefused: one of them was killed.
    """
    workers = processes()
    try:
        batch = get()
    except RuntimeError as error:
        codes = _exit_codes(workers)
        if not codes:
            raise
        # The others are terminated when one is gone.
        raise TrainingRefused(_killed(min(codes, key=lambda code: code == -signal.SIGTERM))) from error
    failure = batch.get("failure") if isinstance(batch, dict) else None
    if failure is None:
        return batch
    finish()
    raise WorkerFailed(f"{failure.kind} in a data loading process: {failure.message}\n\n{failure.trace}")


def _exit_codes(workers: list[Process]) -> list[int]:
    """Of those that did not end well; for a moment only the thread that noticed the end may know the code."""
    deadline = time.monotonic() + _PATIENCE
    while not (codes := [worker.exitcode for worker in workers if worker.exitcode]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return codes


def _killed(exitcode: int) -> str:
    if exitcode > 0:
        return f"A data loading process ended with exit code {exitcode}. What it said stands above."
    name = signal.Signals(-exitcode).name
    advice = (
        " The system does that when memory runs out: take fewer processes (nnUNet_n_proc_DA=2), or smaller batches."
        if name == "SIGKILL"
        else " Take one process to see where (nnUNet_n_proc_DA=0)."
    )
    return f"A data loading process was killed by signal {-exitcode} ({name}).{advice} Continue with --c."


class TellingAugmenter(NonDetMultiThreadedAugmenter):
    """batchgenerators' workers as nnU-Net starts them, whose exceptions reach the training.

    Its own say no more than "One or more background workers are no longer alive".
    """

    def __init__(self, data_loader: Any, *args: Any, **kwargs: Any):
        super().__init__(InWorker(data_loader), *args, **kwargs)

    def __next__(self) -> Any:
        """The next batch of whichever worker is ready; raises as `batch_of`."""
        if not self.initialized:  # before `batch_of` looks who they are: one may be gone before its first batch
            self._start()
        return batch_of(super().__next__, lambda: self._processes, self._finish)


@contextmanager
def workers_made_by(make: Callable[..., Any]) -> Iterator[None]:
    """Within the block, nnU-Net makes its loading processes by `make` in place of batchgenerators' class.

    nnU-Net builds loaders and workers in one method. A copy of that method would age with every release.
    """
    name = NonDetMultiThreadedAugmenter.__name__
    before = getattr(nnunet_module, name, None)
    if before is None:  # a release that has others: they stay as they are
        yield
        return
    setattr(nnunet_module, name, make)
    try:
        yield
    finally:
        setattr(nnunet_module, name, before)
