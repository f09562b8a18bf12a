from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_fess.trainers.seeding import RepeatableAugmenter, seed_everything

TRAIN, VALIDATE = 1, 2


class Random:
    """A loader whose batches are numbers of all three generators."""

    thread_id = None
    transforms = "visible in debug.json"

    def set_thread_id(self, thread_id: int) -> None:
        self.thread_id = thread_id

    def __next__(self) -> dict[str, Any]:
        return {"worker": self.thread_id, "batch": (random.random(), np.random.rand(), torch.rand(1).item())}


@pytest.fixture
def two_workers() -> Iterator[Callable[[], RepeatableAugmenter]]:
    made = []

    def make() -> RepeatableAugmenter:
        made.append(RepeatableAugmenter(data_loader=Random(), transform=None, num_processes=2, num_cached=6, seeds=None))
        return made[-1]

    yield make
    for augmenter in made:
        augmenter._finish()


def epoch(augmenter: RepeatableAugmenter, *entropy: int, batches: int = 5) -> list[dict[str, Any]]:
    augmenter.reseed(*entropy)
    return [next(augmenter) for _ in range(batches)]


def test_fresh_workers_give_the_same_batches_in_the_same_order(two_workers):
    assert epoch(two_workers(), 3, 0, TRAIN) == epoch(two_workers(), 3, 0, TRAIN)


def test_the_workers_take_turns_and_have_streams_of_their_own(two_workers):
    batches = epoch(two_workers(), 3, 0, TRAIN)
    assert [batch["worker"] for batch in batches] == [0, 1, 0, 1, 0]
    numbers = [number for batch in batches for number in batch["batch"]]
    assert len(set(numbers)) == len(numbers)


def test_resumed_workers_continue_what_the_others_would_have_given(two_workers):
    straight, resumed = two_workers(), two_workers()
    epochs = [epoch(straight, 3, number, TRAIN) for number in range(3)]
    assert epoch(resumed, 3, 2, TRAIN) == epochs[2]


def test_how_far_ahead_the_workers_were_does_not_count(two_workers):
    augmenter = two_workers()
    epoch(augmenter, 3, 0, TRAIN, batches=1)
    assert epoch(augmenter, 3, 1, TRAIN) == epoch(two_workers(), 3, 1, TRAIN)


@pytest.mark.parametrize("other", [(4, 0, TRAIN), (3, 1, TRAIN), (3, 0, VALIDATE)])
def test_seeds_epochs_and_phases_have_streams_of_their_own(two_workers, other):
    augmenter = two_workers()
    assert epoch(augmenter, 3, 0, TRAIN) != epoch(augmenter, *other)


def test_the_loader_stays_visible(two_workers):
    assert two_workers().generator.transforms == "visible in debug.json"


def test_a_seed_is_for_all_three_generators():
    loader = Random()
    seed_everything(1, 2)
    first = next(loader)
    seed_everything(1, 2)
    assert next(loader) == first
    seed_everything(2, 1)
    assert not set(next(loader)["batch"]) & set(first["batch"])
