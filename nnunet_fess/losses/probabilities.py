"""Softmax, sigmoid and cross entropy whose values and gradients keep their digits wherever a prediction is certain.

torch's own take p (1 - p) for the slope of a probability and log(1 + small) for the cross entropy: where p is nearly 1 and
wrong, float32 leaves nothing of the first, and where it is right nothing of the second. Here 1 - p is always what the others
have. The gradients are written down and computed block by block (`nnunet_fess.losses.blocks`).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nnunet_fess.losses.blocks import Index, blocks, in_blocks


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
    """With z = log Σ_{j≠y} exp(x_j - x_y) and upstream g: softplus(z); ∂/∂x_y = -g σ(z), ∂/∂x_k = g σ(z) exp(x_k - x_y - z)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        ctx.save_for_backward(logits, labels)
        result = torch.empty_like(labels, dtype=logits.dtype, memory_format=torch.contiguous_format)

        def work(index: Index) -> None:
            _, _, z = _against_own(logits, labels, index)
            result[index[0], ..., index[1]].copy_(F.softplus(z, threshold=40))

        in_blocks(work, blocks(logits, logits.shape[1]))
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        logits, labels = ctx.saved_tensors
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)

        def work(index: Index) -> None:
            place, above, z = _against_own(logits, labels, index)
            slope = upstream[index[0], ..., index[1]] * z.sigmoid()
            above.sub_(z.clamp_min(torch.finfo(z.dtype).min)).exp_().mul_(slope)
            grad[index[0], ..., index[1]].copy_(above.scatter_(-2, place, -slope))

        in_blocks(work, blocks(logits, logits.shape[1]))
        return grad, None


def _against_own(logits: Tensor, labels: Tensor, index: Index) -> tuple[Tensor, Tensor, Tensor]:
    """Of a block: the own classes, how far the others' logits lie above theirs (-∞ for the own), and log Σ exp of that."""
    x, place = (values[index[0], ..., index[1]] for values in (logits, labels))
    above = (x - x.gather(-2, place)).scatter_(-2, place, -torch.inf)
    return place, above, above.logsumexp(-2, keepdim=True)
