"""Seeds that make a training repeatable, and a resumed one equal to an uninterrupted one."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter


def seed_everything(*entropy: int) -> None:
    """Seed Python, numpy and torch from a tuple such as (seed, epoch, phase): any two tuples give independent streams."""
    state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)


class RepeatableAugmenter(MultiThreadedAugmenter):
    """batchgenerators' ordered workers, started anew for every epoch with seeds that depend on the epoch alone.

    nnU-Net's own workers hand over whichever batch is ready first, and never restart: neither order nor content can be had
    again, so a resumed training would see other batches than the one it continues.
    """

    def __init__(self, data_loader: Any, num_processes: int, pin_memory: bool):
        super().__init__(
            _SeededInWorker(data_loader),
            None,
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


class _SeededInWorker:
    """Hands batches through; seeds the worker's generators when the worker says which one it is.

    batchgenerators seeds numpy only, and a forked worker would inherit torch's state: all workers would flip the same way.
    """

    def __init__(self, data_loader: Any):
        self.data_loader = data_loader
        self.entropy: tuple[int, ...] = (0,)

    def set_thread_id(self, thread_id: int) -> None:
        # The parent has computed in several threads before this fork; their pool does not exist here, and waiting for it hangs.
        torch.set_num_threads(1)
        seed_everything(*self.entropy, thread_id)
        self.data_loader.set_thread_id(thread_id)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self.data_loader)


@contextmanager
def augmentation_in_process() -> Iterator[None]:
    """nnU-Net makes plain, single-process loaders in here."""
    before = os.environ.get("nnUNet_n_proc_DA")
    os.environ["nnUNet_n_proc_DA"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["nnUNet_n_proc_DA"]
        else:
            os.environ["nnUNet_n_proc_DA"] = before
