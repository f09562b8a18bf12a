"""Euclidean distances in mm, exact, on the device of the labels: to every class, and to every class's own border.

On a CPU blocked minimum passes in NumPy (`lower_envelope`), on any other device the same separable minimum in torch. What a
patch cannot see does not exist: its border is no organ's border, hence never a goal, and a class that is not in the patch is
infinitely far away, or at the cap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_fess.losses.maps.lower_envelope import squared_distances, squared_distances_to_two
from nnunet_fess.losses.maps.spacing import check_cap, check_spacing

# Values that one pass on a GPU lays out at a time.
_CHUNK = 1 << 26


def distance_transform(masks: Tensor, spacing: Sequence[float] | None = None, cap: float | None = None) -> Tensor:
    r"""Distance of every voxel to the nearest True voxel of its channel, between voxel centres; 0 on those.

    .. math:: d(x) = \min_{y: m(y)} \| s ⊙ (x - y) \|_2

    Exact: equal to `scipy.ndimage.distance_transform_edt(~mask, spacing)`, but for a channel without any True voxel, which
    scipy leaves undefined.

    Args:
        masks: bool (B, C, *spatial), 2-D or 3-D, each channel a set of goals of its own. Axes of one slice are fine.
        spacing: s, mm per spatial axis; None: 1, so that distances are in voxels.
        cap: in mm; what is further away is that far, and the work ends there. None: no cap.

    Returns:
        float32 (B, C, *spatial) in mm, without gradient; infinite, or the cap, in a channel that is all False.

    Raises:
        ValueError: masks that are not bool, another number of axes than the spacing's, a spacing or a cap that is not positive.
    """
    if masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool. Got: {masks.dtype}")
    return _distances(masks, spacing, cap, False)


def distance_to_border(labels: Tensor, spacing: Sequence[float] | None = None, cap: float | None = None) -> Tensor:
    r"""Distance of every voxel to the nearest voxel with another label, in one pass whatever the number of labels.

    .. math:: d(x) = \min_{y: l(y) ≠ l(x)} \| s ⊙ (x - y) \|_2

    For a bool mask that is the distance to the mask outside, and to its complement inside.

    Args:
        labels: integer or bool (B, C, *spatial), each channel a label map of its own.
        spacing: see `distance_transform`.
        cap: see `distance_transform`.

    Returns:
        float32 (B, C, *spatial) in mm, at least the smallest spacing; infinite, or the cap, where a channel has one label.

    Raises:
        ValueError: see `distance_transform`; labels in floating point.
    """
    if labels.is_floating_point():
        raise ValueError(f"labels must be integers or bool. Got: {labels.dtype}")
    return _distances(labels, spacing, cap, True)


@torch.no_grad()
def distances_to_two_nearest(masks: Tensor, reach: float, spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Distance of every voxel to the nearest and to the second nearest of M objects; 0 inside an object.

    Args:
        masks: bool (B, M, *spatial), one channel per object.
        reach: in mm; what is further away is infinitely far.
        spacing: mm per axis.

    Returns:
        two float32 tensors (B, 1, *spatial), in mm.
    """
    found = _two_nearest(masks, [float(step) for step in spacing], reach * (1 + 1e-6))
    nearest, second = found.masked_fill_(found > reach**2, math.inf).sqrt_().split(1, 1)
    return nearest, second


@torch.no_grad()
def _distances(arrays: Tensor, spacing: Sequence[float] | None, cap: float | None, to_border: bool) -> Tensor:
    axes = arrays.ndim - 2
    if not torch.compiler.is_compiling():
        check_spacing(spacing, None)
        check_cap(cap)
    spacing = [1.0] * axes if spacing is None else [float(step) for step in spacing]
    if axes not in (2, 3) or len(spacing) != axes:
        raise ValueError(
            f"(B, C, *spatial) with 2 or 3 axes, each with a spacing, was expected. Got: {tuple(arrays.shape)}, {spacing}"
        )
    return _squared(arrays, spacing, math.inf if cap is None else float(cap), to_border).sqrt_()


def _squared(arrays: Tensor, spacing: Sequence[float], cap: float, to_border: bool) -> Tensor:
    """Squared distances (B, C, *spatial), see `squared_distances`."""
    flat = arrays.flatten(0, 1).contiguous()
    found: Tensor = _operator(flat, [float(step) for step in spacing], cap, to_border)
    return found.view(arrays.shape)


# An operator of its own, which torch.compile takes as it is: how far the passes go depends on the values.
@torch.library.custom_op(
    "nnunet_fess::squared_distances",
    mutates_args=(),
    schema="(Tensor arrays, float[] spacing, float cap, bool to_border) -> Tensor",
)
def _operator(arrays: Tensor, spacing: Sequence[float], cap: float, to_border: bool) -> Tensor:
    if arrays.device.type == "cpu":
        return torch.from_numpy(squared_distances(arrays.numpy(), spacing, cap, to_border))
    return _squared_on_device(arrays, spacing, cap, to_border)


@_operator.register_fake
def _(arrays: Tensor, spacing: Sequence[float], cap: float, to_border: bool) -> Tensor:
    return torch.empty_like(arrays, dtype=torch.float32)


@torch.library.custom_op(
    "nnunet_fess::two_nearest", mutates_args=(), schema="(Tensor masks, float[] spacing, float cap) -> Tensor"
)
def _two_nearest(masks: Tensor, spacing: Sequence[float], cap: float) -> Tensor:
    """The two smallest squared distances, at most cap²: (B, 2, *spatial)."""
    if masks.device.type == "cpu":
        return torch.from_numpy(squared_distances_to_two(masks.numpy(), spacing, cap))
    nearest = second = torch.full_like(masks[:, 0], cap * cap, dtype=torch.float32)
    for mask in masks.unbind(1):  # one object at a time: memory does not grow with their number
        squared = _squared_on_device(mask, spacing, cap, False)
        nearest, second = torch.minimum(nearest, squared), torch.minimum(second, torch.maximum(nearest, squared))
    return torch.stack((nearest, second), 1)


@_two_nearest.register_fake
def _(masks: Tensor, spacing: Sequence[float], cap: float) -> Tensor:
    return masks.new_empty((masks.shape[0], 2, *masks.shape[2:]), dtype=torch.float32)


def _squared_on_device(arrays: Tensor, spacing: Sequence[float], cap: float, to_border: bool) -> Tensor:
    """`squared_distances` in torch: on each axis the minimum over all pairs of positions, without a look at the values."""
    values = torch.full(arrays.shape, math.inf, device=arrays.device)
    if not to_border:
        values.masked_fill_(arrays, 0)
    for axis, step in enumerate(spacing, 1):
        length = arrays.shape[axis]
        place = torch.arange(length, device=arrays.device) * step
        cost = (place[:, None] - place).square()
        lines = values.movedim(axis, -1).reshape(-1, 1, length)
        rows = max(1, _CHUNK // max(1, length * length))
        if to_border:
            labels = arrays.movedim(axis, -1).reshape(-1, length)
            pieces = [
                (cost + torch.where(label[:, :, None] != label[:, None], 0, line)).amin(-1)
                for line, label in zip(lines.split(rows), labels.split(rows), strict=True)
            ]
        else:
            pieces = [(cost + line).amin(-1) for line in lines.split(rows)]
        values = torch.cat(pieces).view(values.movedim(axis, -1).shape).movedim(-1, axis)
    return values.clamp(max=cap * cap).contiguous()
