"""Rows of all processes of a distributed training, differentiable."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from nnunet_fess.losses.distributed import sum_over_ranks


def gather_over_ranks(rows: Tensor) -> Tensor:
    """The rows of all ranks, in the order of the ranks, on every rank.

    A loss of gathered rows is the same on all ranks. Its gradient, which DistributedDataParallel averages over the ranks, is
    that of one process with the whole batch.

    Args:
        rows: (N, …), any floating dtype; N may differ between ranks and be 0, the other axes must not differ.

    Returns:
        (ΣN, …); `rows` itself if torch.distributed is not initialised.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return rows
    before, after = others_over_ranks(rows)
    # A sum of rows padded with zeros: any backend can do it, whatever N, and its gradient is known already.
    return sum_over_ranks(torch.cat([rows.new_zeros(before, *rows.shape[1:]), rows, rows.new_zeros(after, *rows.shape[1:])]))


def others_over_ranks(rows: Tensor) -> tuple[int, int]:
    """How many rows the ranks before this one have, and how many those after it; 0 and 0 in a single process."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 0
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long, device=rows.device)
    counts[dist.get_rank()] = len(rows)
    dist.all_reduce(counts)
    return int(counts[: dist.get_rank()].sum()), int(counts[dist.get_rank() + 1 :].sum())
