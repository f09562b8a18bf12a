"""The part of a patch that is nearer to each connected component of a class than to any other: its Voronoi cell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from nnunet_fess.losses.blocks import in_threads
from nnunet_fess.losses.maps.components import number_components
from nnunet_fess.losses.maps.lower_envelope import add_axis
from nnunet_fess.losses.maps.spacing import check_spacing

# Values that one pass on a GPU lays out at a time.
_CHUNK = 1 << 26
# Squares of spacings that are not alike are counted in parts of the smallest, so small unless 64 bits are too few.
_FINE = 1 << 20


@torch.no_grad()
def voronoi_cells(masks: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    r"""Which connected component of its channel is the nearest to every voxel: the Voronoi cells of the components.

    .. math:: cell(x) = \arg\min_k \min_{y ∈ K_k} \| s ⊙ (x - y) \|_2

    Voxels that touch by a face, an edge or a corner are of one component. Of two that are equally near either is taken.

    Args:
        masks: bool (B, C, *spatial), 2-D or 3-D, each channel a set of components of its own.
        spacing: s, mm per spatial axis; None: 1, so that distances are in voxels.

    Returns:
        int32 (B, C, *spatial), cells counted from 0 in each channel; all 0 where a channel has one component, or none: then the
        patch is one cell. Fewer than `most_cells`.

    Raises:
        ValueError: masks that are not bool, another number of axes than the spacing's, a spacing that is not positive.
    """
    axes = masks.ndim - 2
    if masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool. Got: {masks.dtype}")
    steps = [1.0] * axes if spacing is None else [float(step) for step in spacing]
    if axes not in (2, 3) or len(steps) != axes:
        raise ValueError(
            f"(B, C, *spatial) with 2 or 3 axes, each with a spacing, was expected. Got: {tuple(masks.shape)}, {steps}"
        )
    check_spacing(steps, None)
    found: Tensor = _operator(masks.flatten(0, 1).contiguous(), steps)
    return found.view(masks.shape)


def most_cells(spatial_shape: Sequence[int]) -> int:
    """How many cells a patch of that shape has at most: two voxels of a block of two per axis touch, hence one a block."""
    return math.prod([(size + 1) // 2 for size in spatial_shape])  # a list: torch.compile reads no generator


# An operator of its own, which torch.compile takes as it is: how many components there are depends on the values.
@torch.library.custom_op("nnunet_fess::voronoi_cells", mutates_args=(), schema="(Tensor masks, float[] spacing) -> Tensor")
def _operator(masks: Tensor, spacing: Sequence[float]) -> Tensor:
    on_cpu = masks.device.type == "cpu"
    arrays = masks.cpu().numpy()
    found = torch.zeros(masks.shape, dtype=torch.int32)
    results = found.numpy()

    def one(number: int) -> bool:
        numbers, count = number_components(arrays[number])
        if count > 1:
            results[number] = nearest_number(numbers, count, spacing) - 1 if on_cpu else numbers
        return count > 1

    several = in_threads(one, range(len(arrays)))
    if on_cpu:
        return found
    cells = found.to(masks.device)
    for number in (number for number, yes in enumerate(several) if yes):
        cells[number] = _nearest_on_device(cells[number], spacing) - 1
    return cells


@_operator.register_fake
def _(masks: Tensor, spacing: Sequence[float]) -> Tensor:
    return torch.empty_like(masks, dtype=torch.int32)


def nearest_number(numbers: np.ndarray, most: int, spacing: Sequence[float]) -> np.ndarray:
    """Of every voxel the number of the nearest that has one.

    Squared distance and number are one whole number, the distance in its upper digits: the minimum of `lower_envelope` finds
    both at once.

    Args:
        numbers: (*spatial), 0 … most, 0 for none.
        most: the largest; there is one.
        spacing: mm per axis. Where they differ, their squares are rounded to a millionth of the smallest.

    Returns:
        (*spatial), 1 … most.
    """
    ratios = [(step / min(spacing)) ** 2 for step in spacing]
    bits = most.bit_length()
    reach = sum(ratio * length**2 for ratio, length in zip(ratios, numbers.shape, strict=True))
    fine = 1 if max(ratios) == 1 else max(1, min(_FINE, int(2 ** (61 - bits) / reach)))
    squares = [round(ratio * fine) for ratio in ratios]
    beyond = 1 + sum(square * (length - 1) ** 2 for square, length in zip(squares, numbers.shape, strict=True))
    kind = np.uint32 if 2 * beyond << bits < 1 << 32 else np.int64
    far = beyond << bits
    values = _along_first(numbers, bits, squares[0], far).astype(kind)
    for axis, square in enumerate(squares[1:], 1):
        add_axis(values, numbers, axis, square << bits, far, None)
    return values & kind((1 << bits) - 1)


def _along_first(numbers: np.ndarray, bits: int, square: int, far: int) -> np.ndarray:
    """Squared distance to the nearest number on the first axis's line, and behind it the number; far without one: int64."""
    none = (len(numbers) + 1) << bits
    steps = np.where(numbers > 0, numbers, none).astype(np.int64)
    one = 1 << bits
    for i in range(1, len(steps)):
        np.minimum(steps[i], steps[i - 1] + one, out=steps[i])
    for i in range(len(steps) - 2, -1, -1):
        np.minimum(steps[i], steps[i + 1] + one, out=steps[i])
    away = steps >> bits
    values: np.ndarray = ((away * away * square) << bits) | (steps & (one - 1))
    values[steps >= none] = far
    return values


def _nearest_on_device(numbers: Tensor, spacing: Sequence[float]) -> Tensor:
    """`nearest_number` in torch: on each axis the minimum over all pairs of positions, without a look at the values."""
    values = torch.zeros(numbers.shape, device=numbers.device).masked_fill_(numbers == 0, torch.inf)
    for axis, step in enumerate(spacing):
        length = numbers.shape[axis]
        place = torch.arange(length, device=numbers.device) * step
        cost = (place[:, None] - place).square()
        shape = values.movedim(axis, -1).shape
        lines, owners = (x.movedim(axis, -1).reshape(-1, length) for x in (values, numbers))
        rows = max(1, _CHUNK // max(1, length * length))
        least = [(cost + line[:, None]).min(-1) for line in lines.split(rows)]
        values = torch.cat([each.values for each in least]).view(shape).movedim(-1, axis)
        nearest = torch.cat([each.indices for each in least])
        numbers = owners.gather(-1, nearest).view(shape).movedim(-1, axis)
    return numbers
