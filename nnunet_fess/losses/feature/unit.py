"""Vectors scaled to unit length, and their products, whatever their length and whatever autocast says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def unit(vectors: Tensor) -> Tensor:
    """Vectors along the last axis divided by their L2 norm, in float32 (float64 stays).

    Scaled by its largest entry first, so that no square overflows or vanishes: the result does not change with a vector's
    scale from 1e-37 to 1e38. A vector of zeros (or of subnormal numbers) stays 0 and gets no gradient; one that is not
    finite becomes NaN.
    """
    vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
    if vectors.shape[-1] == 0:
        return vectors
    largest = vectors.detach().abs().amax(-1, keepdim=True)
    dead = largest < torch.finfo(vectors.dtype).tiny
    scaled = (vectors / largest.masked_fill(dead, 1)).masked_fill(dead, 0)
    # The norm of a dead vector is never 0: its gradient would be NaN.
    return scaled / torch.linalg.vector_norm(scaled.masked_fill(dead, 1), dim=-1, keepdim=True)


def products(first: Tensor, second: Tensor) -> Tensor:
    """Scalar products of the rows (…, N, D) and (…, M, D): (…, N, M), with value and gradient in the rows' own precision.

    A matrix product whose `backward` is called inside of autocast would compute the gradient in half precision.
    """
    result: Tensor = _Products.apply(first, second)
    return result


class _Products(Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        ctx.save_for_backward(first, second)
        with torch.autocast(device_type=first.device.type, enabled=False):
            return first @ second.mT

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        first, second = ctx.saved_tensors
        with torch.autocast(device_type=first.device.type, enabled=False):
            return (
                grad @ second if ctx.needs_input_grad[0] else None,
                grad.mT @ first if ctx.needs_input_grad[1] else None,
            )
