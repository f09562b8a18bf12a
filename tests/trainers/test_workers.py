from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet_module

from nnunet_fess.trainers.errors import TrainingRefused
from nnunet_fess.trainers.seeding import RepeatableAugmenter
from nnunet_fess.trainers.workers import InWorker, TellingAugmenter, WorkerFailed, workers_made_by


class Strange(Exception):
    """One that no other process can unpickle."""

    def __init__(self, one: int, two: int):
        super().__init__(f"case {one} is broken")
        self.handle = lambda: two


class Loader:
    """Two good batches, then what is wrong."""

    transforms = "nnU-Net's"

    def __init__(self, end: Callable[[], None]):
        self.end = end
        self.made = 0

    def set_thread_id(self, thread_id: int) -> None:
        pass

    def __next__(self) -> dict[str, Any]:
        self.made += 1
        if self.made > 2:
            self.end()
        return {"data": self.made}


def broken_file() -> None:
    raise FileNotFoundError("case7.b2nd is missing")


def strange() -> None:
    raise Strange(1, 2)


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashed() -> None:
    os._exit(3)


@pytest.fixture(params=[TellingAugmenter, RepeatableAugmenter])
def start(request) -> Iterator[Callable[..., Any]]:
    made = []

    def make(end: Callable[[], None]) -> Any:
        made.append(request.param(data_loader=Loader(end), transform=None, num_processes=2, num_cached=2, wait_time=0.002))
        return made[-1]

    yield make
    for augmenter in made:
        augmenter._finish()


def drain(augmenter: Any) -> None:
    for _ in range(20):
        next(augmenter)


@pytest.mark.parametrize(
    ("end", "kind", "message"),
    [(broken_file, "FileNotFoundError", "case7.b2nd is missing"), (strange, "Strange", "case 1 is broken")],
)
def test_a_workers_exception_reaches_the_training(start, end, kind, message):
    with pytest.raises(WorkerFailed, match=f"{kind} in a data loading process: {message}") as error:
        drain(start(end))
    assert f"in {end.__name__}" in str(error.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    ("end", "message"),
    [(killed, r"killed by signal 9 \(SIGKILL\)\. The system does that when memory runs out"), (crashed, "exit code 3")],
)
def test_a_worker_that_was_killed_is_told(start, end, message):
    with pytest.raises(TrainingRefused, match=message):
        drain(start(end))


def test_the_workers_are_gone_afterwards(start):
    augmenter = start(broken_file)
    with pytest.raises(WorkerFailed):
        drain(augmenter)
    assert augmenter._processes == []


def test_batches_come_through(start):
    assert {next(start(broken_file))["data"] for _ in range(2)} <= {1, 2}


def test_nnunet_gets_its_class_back():
    with pytest.raises(ZeroDivisionError), workers_made_by(TellingAugmenter):
        assert nnunet_module.NonDetMultiThreadedAugmenter is TellingAugmenter
        raise ZeroDivisionError
    assert nnunet_module.NonDetMultiThreadedAugmenter is NonDetMultiThreadedAugmenter


def test_can_be_handed_to_a_new_process_where_there_is_no_fork():
    assert pickle.loads(pickle.dumps(InWorker([1]))).data_loader == [1]
