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
        if radius == 0 or values.numel() == 0:
            continue
        size = values.shape[axis]
        shape = list(values.shape)
        shape[axis] = radius
        beyond = values.new_full(shape, outside)
        values = torch.cat((beyond, values, beyond), axis)
        if axis == -1:
            # The rows are short, and many of them: as one row they take a CPU a fifth of the time. A window that reaches
            # into the next row begins where nobody looks.
            padded = values.shape
            row = _grown(combine, values.view(-1), 0, 2 * radius + 1)
            values = torch.cat((row, row.new_zeros(2 * radius))).view(padded).narrow(-1, 0, size)
        else:
            values = _grown(combine, values, axis, 2 * radius + 1)
    return values


def _grown(combine: Callable[[Tensor, Tensor], Tensor], values: Tensor, axis: int, full: int) -> Tensor:
    """Every window of `full` entries along the axis, which becomes shorter by full - 1."""
    reach = 1
    while reach < full:
        step = min(reach, full - reach)
        rest = values.shape[axis] - step
        values = combine(values.narrow(axis, 0, rest), values.narrow(axis, step, rest))
        reach += step
    return values
