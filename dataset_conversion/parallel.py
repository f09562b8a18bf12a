"""Cases side by side, one in memory per worker process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from dataset_conversion.errors import ConversionError
from nnunet_fess.program import starting_workers
from nnunet_fess.streams import progress

Job = TypeVar("Job")
Result = TypeVar("Result")


def run(function: Callable[[Job], Result], jobs: Sequence[Job], workers: int, title: str) -> Iterator[Result]:
    """`function` of each job in the order of completion, with its progress on stderr.

    Raises:
        ConversionError: a worker process was killed.
    """
    if workers == 1 or len(jobs) < 2:
        yield from progress(map(function, jobs), title, len(jobs))
        return
    # "spawn": forking a process that has threads (BLAS, tqdm) can deadlock
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context, _die_with_parent) as pool:
        try:
            with starting_workers():
                futures = [pool.submit(function, job) for job in jobs]
            for future in progress(as_completed(futures), title, len(jobs)):
                yield future.result()
        except BrokenProcessPool as error:
            raise ConversionError(
                f"{title}: a worker process was killed, most likely for want of memory; use a smaller -np"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _die_with_parent() -> None:
    """End this worker when the converter is killed, or it would wait for work for ever; Ctrl-C is the converter's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None  # we are in a worker

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
