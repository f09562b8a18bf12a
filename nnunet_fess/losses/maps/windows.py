"""Box windows over voxels: three 1-D passes whatever the size, and each pass doubles its reach in every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def windowed_max(values: Tensor, radii: Sequence[int], outside: int = 0) -> Tensor:
    """Maximum over the box of 2·radius + 1 entries on each of the last axes.

    Args:
        values: (..., *spatial), integers >= 0.
        radii: one for each spatial axis, in voxels.
        outside: value of everything beyond the array.
    """
    return _windowed(torch.maximum, values, radii, outside)


def windowed_or(bits: Tensor, radii: Sequence[int], outside: int = 0) -> Tensor:
    """Bitwise or over the same box."""
    return _windowed(torch.bitwise_or, bits, radii, outside)


def _windowed(combine: Callable[[Tensor, Tensor], Tensor], values: Tensor, radii: Sequence[int], outside: int) -> Tensor:
    # Shifted element-wise operations on whole arrays are far faster on a CPU than pooling, and no slower on a GPU.
    for axis, radius in zip(range(-len(radii), 0), radii, strict=True):
        radius = min(radius, values.shape[axis])  # further than the array there is only more of the outside
        if radius == 0:
            continue
        shape = list(values.shape)
        shape[axis] = radius
        beyond = values.new_full(shape, outside)
        values = torch.cat((beyond, values, beyond), axis)
        reach, full = 1, 2 * radius + 1
        while reach < full:
            step = min(reach, full - reach)
            rest = values.shape[axis] - step
            values = combine(values.narrow(axis, 0, rest), values.narrow(axis, step, rest))
            reach += step
    return values
