"""Seeds that make a training repeatable, and a resumed one equal to an uninterrupted one."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter

from nnunet_fess.trainers.workers import InWorker, batch_of


def seed_of(*entropy: int) -> int:
    """One seed of a tuple such as (seed, epoch, phase): any two tuples give independent streams."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def seed_everything(*entropy: int) -> None:
    """Seed Python, numpy and torch, see `seed_of`."""
    state = seed_of(*entropy)
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)


class RepeatableAugmenter(MultiThreadedAugmenter):
    """batchgenerators' ordered workers, started anew for every epoch with seeds that depend on the epoch alone.

    nnU-Net's own workers hand over whichever batch is ready first, and never restart: neither order nor content can be had
    again, so a resumed training would see other batches than the one it continues.

    Args:
        data_loader: makes batches.
        transform: of a batch; nnU-Net has it in the loader.
        num_processes: how many workers.
        pin_memory: have the batches where a GPU copies them from.
        others: what nnU-Net says to workers without an order.
    """

    def __init__(
        self, data_loader: Any, transform: Any = None, num_processes: int = 1, pin_memory: bool = False, **others: Any
    ):
        super().__init__(
            _SeededInWorker(data_loader),
            transform,
            num_processes,
            seeds=[0] * num_processes,
            pin_memory=pin_memory,
            wait_time=0.002,
        )

    def reseed(self, *entropy: int) -> None:
        """Restart the workers; each derives its stream from this and its own number."""
        self._finish()
        self.generator.entropy = entropy
        self._start()

    def __next__(self) -> Any:
        """The next batch, of the workers in turn; raises as `nnunet_fess.trainers.workers.batch_of`."""
        if not self.was_initialized:  # as in `TellingAugmenter`
            self._start()
        return batch_of(super().__next__, lambda: self._processes, self._finish)


class _SeededInWorker(InWorker):
    """Seeds the worker's generators when the worker says which one it is.

    batchgenerators seeds numpy only, and a forked worker would inherit torch's state: all workers would flip the same way.
    """

    def __init__(self, data_loader: Any):
        super().__init__(data_loader)
        self.entropy: tuple[int, ...] = (0,)

    def set_thread_id(self, thread_id: int) -> None:
        # The parent has computed in several threads before this fork; their pool does not exist here, and waiting for it hangs.
        torch.set_num_threads(1)
        seed_everything(*self.entropy, thread_id)
        super().set_thread_id(thread_id)
