"""Softmax, sigmoid and cross entropy whose values and gradients keep their digits wherever a prediction is certain.

torch's own take p (1 - p) for the slope of a probability and log(1 + small) for the cross entropy: where p is nearly 1 and
wrong, float32 leaves nothing of the first, and where it is right nothing of the second. Here 1 - p is always what the others
have. The gradients are written down and computed block by block (`nnunet_fess.losses.blocks`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nnunet_fess.losses.blocks import Index, blocks, in_blocks, keeps


def softmax(logits: Tensor) -> Tensor:
    """Softmax over the channels of (B, C, *spatial), float32 or float64."""
    result: Tensor = _Softmax.apply(logits.flatten(2))
    return result.view_as(logits)


def sigmoid(logits: Tensor) -> Tensor:
    """Sigmoid of every entry, float32 or float64."""
    result: Tensor = _Sigmoid.apply(logits)
    return result


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    r"""Cross entropy of every voxel, \log(1 + \sum_{j ≠ y} \exp(x_j - x_y)).

    Args:
        logits: (B, C, *spatial), float32 or float64.
        labels: (B, 1, *spatial), integers below C.

    Returns:
        (B, 1, *spatial).
    """
    result: Tensor = _CrossEntropy.apply(logits.flatten(2), labels.flatten(2).long())
    return result.view_as(labels)


class _Softmax(Function):
    """∂/∂x_k = p_k (g_k - Σ_j p_j g_j) with upstream g; of a class that is certain, minus the sum of the others'."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        probability = logits.softmax(1)
        ctx.save_for_backward(probability)
        return probability

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (probability,) = ctx.saved_tensors
        grad = torch.empty_like(probability, memory_format=torch.contiguous_format)

        def work(index: Index) -> None:
            p, g = (x[index[0], ..., index[1]] for x in (probability, upstream))
            result = (g - (p * g).sum(-2, keepdim=True)).mul_(p)
            there = p > 0.99  # a small difference of large numbers
            result.masked_fill_(there, 0)
            grad[index[0], ..., index[1]].copy_(result - there * result.sum(-2, keepdim=True))

        in_blocks(work, blocks(probability, probability.shape[1]))
        return grad


class _Sigmoid(Function):
    """∂/∂x = σ(x) σ(-x)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        ctx.save_for_backward(logits)
        return logits.sigmoid()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (logits,) = ctx.saved_tensors
        return upstream * logits.sigmoid() * logits.neg().sigmoid_()


class _CrossEntropy(Function):
    """log(1 + Σ_{j≠y} p_j / p_y); with upstream g, ∂/∂x_k = g p_k and ∂/∂x_y = -g Σ_{j≠y} p_j."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(logits, labels)
        result = torch.empty_like(labels, dtype=logits.dtype, memory_format=torch.contiguous_format)
        keep = keeps(ctx)

        def work(index: Index) -> Tensor | None:
            x, own, others, place = own_and_others(logits, labels, None, logits.dtype, index)
            result[index[0], ..., index[1]].copy_(own_entropy(x, own, others, others.sum(-2, keepdim=True), place))
            return others if keep else None

        ctx.kept = in_blocks(work, blocks(logits, logits.shape[1]))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        logits, labels = ctx.saved_tensors
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)

        def work(index: Index, kept: Tensor | None) -> None:
            others = own_and_others(logits, labels, None, logits.dtype, index)[2] if kept is None else kept
            slope = upstream[index[0], ..., index[1]]
            result = others * slope
            add_at(result, own_place(labels, index), -others.sum(-2, keepdim=True) * slope)
            grad[index[0], ..., index[1]].copy_(result)

        in_blocks(work, blocks(logits, logits.shape[1]), ctx.kept)
        return grad, None


def own_and_others(
    logits: Tensor, labels: Tensor, valid: Tensor | None, dtype: torch.dtype, index: Index
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A block's logits, each voxel's own class's probability (…, 1, voxels), those of the others with 0 there, and where."""
    x = logits[index[0], ..., index[1]].to(dtype)
    if valid is not None:  # whatever the network says at an ignored voxel, infinity included, must leave no trace
        x = x.masked_fill(~valid[index[0], ..., index[1]], 0)
    probability, place = torch.softmax(x, -2), own_place(labels, index)
    own = take_at(probability, place)
    add_at(probability, place, -own)
    return x, own, probability, place


def own_place(labels: Tensor, index: Index) -> Tensor:
    """Where a block's voxels' own class is: (…, 1, voxels) along the classes, on a CPU flat."""
    place = labels[index[0], ..., index[1]].long()
    if place.dim() == 2 and place.device.type == "cpu":
        voxels = place.shape[-1]
        place = torch.add(torch.arange(voxels), place, alpha=voxels).view(
            -1
        )  # never in place: these may be the caller's labels
    return place


def take_at(values: Tensor, place: Tensor) -> Tensor:
    """Values (…, classes, voxels) of each voxel's own class, (…, 1, voxels)."""
    if place.dim() == 1:  # one axis is far faster to gather from than two
        return values.contiguous().view(-1).index_select(0, place)[None]
    return values.gather(-2, place)


def add_at(values: Tensor, place: Tensor, more: Tensor) -> None:
    """Add more (…, 1, voxels) there, in place; values are contiguous."""
    if place.dim() == 1:
        values.view(-1).scatter_add_(0, place, more.view(-1))
    else:
        values.scatter_add_(-2, place, more)


def own_entropy(logits: Tensor, own: Tensor, others: Tensor, wrong: Tensor, place: Tensor) -> Tensor:
    """-log p of the own class = log(1 + wrong / own): precise where it is small; by way of the logits where p underflows."""
    tiny = torch.finfo(own.dtype).tiny
    if own.device.type == "cpu" and not torch.compiler.is_compiling() and bool(own.amin() > tiny):
        return (wrong / own).log1p_()
    top = logits.amax(-2, keepdim=True)
    largest = torch.maximum(others.amax(-2, keepdim=True), own)
    return torch.where(own > tiny, (wrong / own.clamp_min(tiny)).log1p_(), top - take_at(logits, place) - largest.log())
