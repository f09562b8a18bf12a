"""Lengths in mm on grids of voxels, coarser ones of deep supervision included."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nnunet_fess.losses.bounds import check_number, check_numbers


def check_spacing(spacing: Sequence[float] | None, patch_size: Sequence[int] | None) -> None:
    """Raise ValueError unless the spacing is positive and the patch it belongs to, if any, has voxels on as many axes."""
    if spacing is not None:
        check_numbers("spacing", spacing, " on every axis", above=0)
    if patch_size is not None:
        check_numbers("patch_size", patch_size, " on every axis", least=1)
    if patch_size is not None and (spacing is None or len(spacing) != len(patch_size)):
        raise ValueError(f"patch_size {tuple(patch_size)} must have a spacing per axis. Got: {spacing}")


def check_cap(cap: float | None) -> None:
    """Raise ValueError unless there is no cap or a positive length; an infinite one is none."""
    if cap != math.inf and cap is not None:
        check_number("cap", cap, above=0)


def grid_spacing(spacing: Sequence[float], patch_size: Sequence[int] | None, spatial_shape: Sequence[int]) -> tuple[float, ...]:
    """Voxel size in mm of a grid that covers the same field of view as the patch to which the spacing belongs.

    Args:
        spacing: mm per axis, in the array's order.
        patch_size: shape of the grid with that spacing; None: the grid itself.
        spatial_shape: shape of the grid that is asked about.

    Raises:
        ValueError: another number of axes.
    """
    if len(spacing) != len(spatial_shape):
        raise ValueError(f"spacing must have one entry for each axis of {tuple(spatial_shape)}. Got: {tuple(spacing)}")
    if patch_size is None:
        return tuple(spacing)
    return tuple(s * full / here for s, full, here in zip(spacing, patch_size, spatial_shape, strict=True))


def voxels_at_least_one(length: float, spacing: Sequence[float]) -> list[int]:
    """A length in voxels per axis, rounded half up, at least one."""
    return [max(1, math.floor(length / s + 0.5)) for s in spacing]
