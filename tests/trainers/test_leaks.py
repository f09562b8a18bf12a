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
WITH_FEATURE = [f"nnUNetTrainer{name}" + ("_queue6" if name in ("InfoNCE", "SupCon") else "") for name in FEATURE]


@contextlib.contextmanager
def no_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def living() -> tuple[int, int]:
    """How many tensors there are, and their bytes."""
    tensors = [found for found in gc.get_objects() if issubclass(type(found), torch.Tensor)]
    return len(tensors), sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def steps(trainer: Any, batches: list[Any], count: int) -> None:
    trainer.network.train()
    trainer._first_step = True
    for number in range(count):
        trainer.train_step(batches[number % len(batches)])


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
