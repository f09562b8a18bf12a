"""Memory stays what it is: no tensor more after many steps, none that only the garbage collector could free."""

from __future__ import annotations

import contextlib
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from nnunet_fess.trainers.catalogue import FEATURE, LOSSES

SPATIAL = [name for name, loss in LOSSES.items() if loss.feature is None and len(loss.terms) == 1]
# Queues that are full after two steps.
WITH_FEATURE = [f"nnUNetTrainer{name}" + ("_queue6" if name in ("InfoNCE", "SupCon", "PixelCon") else "") for name in FEATURE]


@contextlib.contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def bytes_of(tensor: torch.Tensor) -> int | None:
    """None where the collector has cleared the object: the tensor inside is gone, and torch asks in vain for its type."""
    try:
        return tensor.numel() * tensor.element_size()
    except RuntimeError:
        return None


def living() -> tuple[int, int]:
    """How many tensors there are, and their bytes; not those that were cleared, which tests before may leave behind."""
    found = [bytes_of(found) for found in gc.get_objects() if issubclass(type(found), torch.Tensor)]
    sizes = [size for size in found if size is not None]
    return len(sizes), sum(sizes)


def steps(trainer: Any, batches: list[Any], count: int) -> None:
    trainer.network.train()
    trainer._first_step = True
    for number in range(count):
        trainer.train_step(batches[number % len(batches)])


def test_a_tensor_more_is_counted_and_a_cleared_one_is_not():
    class Cleared(torch.Tensor):
        """As torch answers for an object that the collector has cleared."""

        def element_size(self) -> int:
            raise RuntimeError("Cannot report itemsize of Tensor that doesn't have initialized dtype")

    with no_collector():
        tensors, size = living()
        kept = [torch.zeros(3)]
        assert living() == (tensors + 1, size + 12)
        kept[0] = Cleared(3)
        assert living() == (tensors, size)


def test_a_step_that_keeps_a_tensor_is_caught(make_trainer, random_batch, monkeypatch):
    trainer = make_trainer("nnUNetTrainerDiceCE_seed0")
    batches, kept = [random_batch(trainer)], []
    one_step = trainer.train_step
    monkeypatch.setattr(trainer, "train_step", lambda batch: kept.append(torch.zeros(1)) or one_step(batch))
    steps(trainer, batches, 2)
    with no_collector():
        tensors, size = living()
        steps(trainer, batches, 2)
        assert living() == (tensors + 2, size + 8)


@pytest.mark.parametrize("name", [*SPATIAL, *WITH_FEATURE])
def test_steps_leave_nothing_behind(make_trainer, random_batch, name):
    trainer = make_trainer(f"{name}_seed0")
    batches = [random_batch(trainer, seed) for seed in range(3)]
    steps(trainer, batches, 6)
    with no_collector():
        before = living()
        steps(trainer, batches, 6)
        assert living() == before


@pytest.mark.parametrize("name", [SPATIAL[0], *WITH_FEATURE])
def test_a_trainer_that_is_not_needed_any_more_frees_its_network(make_trainer, random_batch, name):
    trainer = make_trainer(f"{name}_seed0")
    steps(trainer, [random_batch(trainer)], 2)
    with no_collector():
        gone = weakref.ref(trainer.network), weakref.ref(trainer.loss)
        del trainer
        assert [ref() for ref in gone] == [None, None]


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the resident set as Linux tells it")
@pytest.mark.parametrize("name", ["nnUNetTrainerCWCD", *WITH_FEATURE])
def test_300_steps_at_constant_memory(make_trainer, random_batch, name):
    trainer = make_trainer(f"{name}_seed0")
    batches = [random_batch(trainer, seed) for seed in range(3)]
    steps(trainer, batches, 100)
    before, pages = living(), resident()
    steps(trainer, batches, 200)
    assert living() == before
    assert (resident() - pages) * 4096 < 8 * 2**20
