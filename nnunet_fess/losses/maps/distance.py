"""Euclidean distances to every class on the device of the labels, as far as they matter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def distances_to_two_nearest(masks: Tensor, reach: float, spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Distance of every voxel to the nearest and to the second nearest of M objects; 0 inside an object.

    Exact up to `reach`, infinite beyond. The squared distance is separable: on each axis, the minimum over all shifts of
    the values so far plus the squared shift.

    Args:
        masks: bool (B, M, *spatial), one channel per object.
        reach: in mm.
        spacing: mm per axis.

    Returns:
        two float32 tensors (B, 1, *spatial), in mm.
    """
    shape = (masks.shape[0], 1, *masks.shape[2:])
    nearest = second = torch.full(shape, float("inf"), device=masks.device)
    for mask in masks.unbind(1):  # one object at a time: memory does not grow with their number
        squared = torch.where(mask[:, None], 0.0, float("inf"))
        for axis, step in enumerate(spacing, 2):
            squared = _lower_envelope(squared, axis, reach, step)
        squared = squared.masked_fill(squared > reach**2, float("inf"))
        nearest, second = torch.minimum(nearest, squared), torch.minimum(second, torch.maximum(nearest, squared))
    return nearest.sqrt(), second.sqrt()


def _lower_envelope(squared: Tensor, axis: int, reach: float, step: float) -> Tensor:
    """Min over shifts s of squared(i + s) + (s·step)² along an axis, for |s·step| <= reach."""
    length = squared.shape[axis]
    furthest = min(int(reach / step), length - 1)
    shape = list(squared.shape)
    shape[axis] = furthest
    beyond = squared.new_full(shape, float("inf"))
    padded = torch.cat((beyond, squared, beyond), axis)
    lowest = squared
    for shift in range(-furthest, furthest + 1):
        lowest = torch.minimum(lowest, padded.narrow(axis, furthest + shift, length) + (shift * step) ** 2)
    return lowest
