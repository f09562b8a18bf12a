"""Sums over the processes of a distributed training, differentiable."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function


class _SumOverRanks(Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        # Every rank's loss depends on every rank's values. DDP then averages over the ranks, so that the gradient is
        # that of one process which holds the whole batch.
        total = grad.clone()
        dist.all_reduce(total)
        return total


def sum_over_ranks(values: Tensor) -> Tensor:
    """The sum over all ranks, on every rank; the values themselves if torch.distributed is not initialised."""
    if dist.is_available() and dist.is_initialized():
        return _SumOverRanks.apply(values)
    return values


def max_over_ranks(value: Tensor) -> Tensor:
    """The largest over all ranks, without gradient; the value itself if torch.distributed is not initialised."""
    largest = value.detach().clone()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return largest
