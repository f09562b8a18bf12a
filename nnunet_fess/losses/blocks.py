"""Work on voxels in blocks: small enough for a CPU's cache there, all at once on a GPU.

A pass over 128³ voxels waits for memory, and fresh memory costs more than arithmetic; twenty passes over a block that stays
in the cache do not. Blocks are divided among threads, and not each operation, as torch would: threads then meet once per loss
and not once per operation, and a busy core delays its own blocks only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

Index = tuple[int | slice, slice]
Item = TypeVar("Item")
Result = TypeVar("Result")

# Every operation costs microseconds beside its arithmetic: a block is large enough to hide them, and four arrays of 1 MiB
# stay in the cache that the cores share.
_MOST_ENTRIES = 262144
_MOST_VOXELS = 65536
# Threads take turns at what is not arithmetic.
_FEWEST_BLOCKS = 16


def blocks(like: Tensor, channels: int = 1) -> list[Index]:
    """Where the blocks of a tensor (B, …, voxels) are: (sample, voxels) each, in order; one block on a GPU or while compiling.

    Args:
        like: its first axis, its last axis and its device count.
        channels: how many values a voxel has in the arrays of a block.
    """
    samples, voxels = like.shape[0], like.shape[-1]
    if like.device.type != "cpu" or torch.compiler.is_compiling():
        return [(slice(None), slice(0, voxels))]
    size = max(1024, min(_MOST_VOXELS, _MOST_ENTRIES // channels // 1024 * 1024))
    starts = range(0, voxels, size)
    return [(sample, slice(start, min(start + size, voxels))) for sample in range(samples) for start in starts]


@contextlib.contextmanager
def undivided() -> Iterator[None]:
    """Operations of this thread, and of those started meanwhile, are not divided among threads.

    Small operations gain little by it, and where another program wants the cores each of them waits for the slowest thread.
    """
    threads = 1 if torch.compiler.is_compiling() else torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def in_blocks(work: Callable[..., Result], where: Sequence[Index], *of_blocks: Sequence[Any]) -> list[Result]:
    """The results of all blocks, in order, without gradient; computed by as many threads as torch has, if that is worth it.

    Args:
        work: from an index, and what `of_blocks` hold for it.
        where: the blocks.
        of_blocks: sequences with an entry per block.
    """
    items = list(zip(where, *of_blocks, strict=True))
    if torch.compiler.is_compiling():
        return [work(*item) for item in items]
    return in_threads(lambda item: work(*item), items, _FEWEST_BLOCKS)


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], fewest: int = 2) -> list[Result]:
    """The results of all items, in order, without gradient; computed by as many threads as torch has. Not while compiling.

    Args:
        work: from an item.
        items: what is shared out.
        fewest: for fewer items threads are not worth starting.
    """
    threads = min(torch.get_num_threads(), len(items)) if len(items) >= fewest else 1
    alone = torch.no_grad()(work)
    with undivided():
        if threads == 1:
            return [alone(item) for item in items]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(alone, items))


def keeps(ctx: Any) -> bool:
    """Whether a `Function`'s blocks are to keep their probabilities: for a backward pass that is not compiled."""
    return bool(ctx.needs_input_grad[0]) and not torch.compiler.is_compiling()
