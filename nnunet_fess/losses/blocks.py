"""Work on voxels in blocks: small enough for a CPU's cache there, all at once on a GPU.

A pass over 128³ voxels waits for memory, and fresh memory costs more than arithmetic; twenty passes over a block that stays
in the cache do not. A block is also below the size from which torch divides one operation among threads: blocks are divided
instead. Threads then meet once per loss and not once per operation, and a busy core delays its own blocks only.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Index = tuple[int | slice, slice]
Result = TypeVar("Result")

# torch divides an operation among threads from 32768 entries on; eight arrays of 64 KiB fill a CPU core's second cache.
_MOST_ENTRIES = 32767
_MOST_ENTRIES_ALONE = 65536
_MOST_VOXELS = 16384
# Fewer blocks than this to a thread are not worth starting one.
_FEWEST_BLOCKS = 4


def blocks(like: Tensor, channels: int = 1) -> list[Index]:
    """Where the blocks of a tensor (B, …, voxels) are: (sample, voxels) each, in order; one block on a GPU or while compiling.

    Args:
        like: its first axis, its last axis and its device count.
        channels: how many values a voxel has in the arrays of a block.
    """
    samples, voxels = like.shape[0], like.shape[-1]
    if like.device.type != "cpu" or torch.compiler.is_compiling():
        return [(slice(None), slice(0, voxels))]
    entries = _MOST_ENTRIES if torch.get_num_threads() > 1 else _MOST_ENTRIES_ALONE
    size = max(1024, min(_MOST_VOXELS, entries // channels // 1024 * 1024))
    starts = range(0, voxels, size)
    return [(sample, slice(start, min(start + size, voxels))) for sample in range(samples) for start in starts]


def in_blocks(work: Callable[[Index], Result], where: Sequence[Index]) -> list[Result]:
    """The results of all blocks, in order, without gradient; computed by as many threads as torch has."""
    if len(where) < 2 * _FEWEST_BLOCKS:  # one block while compiling, which cannot ask for the number of threads
        return [work(index) for index in where]
    threads = min(torch.get_num_threads(), len(where) // _FEWEST_BLOCKS)
    if threads == 1:
        return [work(index) for index in where]
    results: list[Result | None] = [None] * len(where)
    errors: list[BaseException] = []
    number = itertools.count()

    def run() -> None:
        try:
            with torch.no_grad():
                while not errors and (i := next(number)) < len(where):
                    results[i] = work(where[i])
        except BaseException as error:  # handed to the caller below
            errors.append(error)

    helpers = [threading.Thread(target=run) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    run()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[0]
    return results  # type: ignore[return-value]
