"""The maps of the region-wise family: signed distance, its rectified form, active contour; functions of the labels alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.maps.distance import distance_to_border, distance_transform
from nnunet_fess.losses.maps.spacing import check_spacing, grid_spacing
from nnunet_fess.losses.target import Target, check_labels, readable


def boundary_map(target: Tensor, num_classes: int, spacing: Sequence[float] | None = None) -> Tensor:
    r"""Signed distance of every voxel to every class.

    .. math:: Z_j = +d(x, G_j) \text{ outside of class } j, \quad -d(x, Ω ∖ G_j) \text{ inside}

    between voxel centres, so that on either side of a border it is one voxel. A class that is absent has no distance; the
    patch cannot tell more than that it is not here. Its map is half of the patch's diagonal, and minus that for a class that
    fills the patch.

    Args:
        target: label map (B, 1, *spatial), 2-D or 3-D, labels 0 … num_classes - 1.
        num_classes: C.
        spacing: mm per axis; None: distances in voxels.

    Returns:
        float32 (B, C, *spatial) in mm, finite.

    Raises:
        ValueError: ill shape, labels or spacing.

    Source: Kervadec et al. 2019, arXiv 1812.07032, and Valverde & Tohka 2022, arXiv 2108.01405.
    """
    return signed_distance(_label_target(target, num_classes, spacing), spacing)


def rrw_map(target: Tensor, num_classes: int, spacing: Sequence[float] | None = None) -> Tensor:
    r"""Rectified region-wise map.

    .. math:: Z_j = -\frac{d(x, Ω ∖ G_j)}{\max_{y ∈ G_j} d(y, Ω ∖ G_j)} \text{ inside of class } j, \quad 1 \text{ outside}

    per sample and class. -1 everywhere in a class that fills the patch, 1 everywhere for an absent one.

    Args:
        target: see `boundary_map`, as the others.
        num_classes: C.
        spacing: mm per axis; None: voxels.

    Returns:
        float32 (B, C, *spatial) in [-1, 1].

    Raises:
        ValueError: ill shape, labels or spacing.

    Source: Valverde & Tohka 2022, arXiv 2108.01405, equation of RRW.
    """
    return rectified_region_wise(_label_target(target, num_classes, spacing), spacing)


def active_contour_map(target: Tensor, num_classes: int, spacing: Sequence[float] | None = None) -> Tensor:
    """-1 inside of a class, 1 outside: the active-contour map of arXiv 2108.01405.

    Args:
        target: see `boundary_map`.
        num_classes: C.
        spacing: as the others take and check it; nothing is measured here.

    Returns:
        float32 (B, C, *spatial).

    Raises:
        ValueError: ill shape, labels or spacing.
    """
    return active_contour(_label_target(target, num_classes, spacing))


def half_diagonal(shape: Sequence[int], spacing: Sequence[float] | None) -> float:
    """Half of a patch's diagonal in mm: nothing in the patch is further from its centre."""
    steps = [1.0] * len(shape) if spacing is None else spacing
    return math.hypot(*(length * step for length, step in zip(shape, steps, strict=True))) / 2


def signed_distance(target: Target, spacing: Sequence[float] | None, cap: float | None = None) -> Tensor:
    """See `boundary_map`; ignored voxels belong to no class, and what is said of them means nothing.

    Args:
        target: labels or regions, each region with its own complement.
        spacing: mm per axis of this target's grid.
        cap: in mm, of the distances' absolute values.

    Returns:
        float32 (B, C, *spatial) in mm.
    """
    outside = _outside(target, spacing, cap)
    inside = _inside(target, spacing, cap, outside)
    signed = torch.where(target.one_hot, -inside, outside)
    furthest = half_diagonal(target.classes.shape[2:], spacing)
    furthest = furthest if cap is None else min(furthest, cap)
    return signed.nan_to_num_(posinf=furthest, neginf=-furthest)


def rectified_region_wise(target: Target, spacing: Sequence[float] | None) -> Tensor:
    """See `rrw_map`."""
    inside = _inside(target, spacing, None)
    own = target.one_hot if target.valid is None else target.one_hot & target.valid
    largest = torch.where(own, inside, 0).flatten(2).amax(2).clamp_min(torch.finfo(torch.float32).tiny)
    relative = inside / largest.view(*largest.shape, *[1] * (inside.ndim - 2))
    return torch.where(target.one_hot, -relative.nan_to_num_(nan=1.0, posinf=1.0), 1.0)


def active_contour(target: Target) -> Tensor:
    """See `active_contour_map`."""
    return 1 - 2 * target.one_hot.float()


def _outside(target: Target, spacing: Sequence[float] | None, cap: float | None) -> Tensor:
    """Distance to each class, (B, C, *spatial); right outside of it, infinite if it is absent."""
    if not target.is_label_map and target.valid is None:
        return distance_to_border(target.classes, spacing, cap)
    return distance_transform(target.one_hot if target.valid is None else target.one_hot & target.valid, spacing, cap)


def _inside(target: Target, spacing: Sequence[float] | None, cap: float | None, outside: Tensor | None = None) -> Tensor:
    """Distance to what is not the class, (B, 1 or C, *spatial); right inside of it, infinite if it fills the patch.

    Args:
        target: see `signed_distance`, as the others.
        spacing: mm per axis.
        cap: in mm.
        outside: the distances to each class, if they are known.
    """
    if target.valid is None and outside is None:
        return distance_to_border(target.classes, spacing, cap)  # one pass, whatever the number of labels
    if target.is_label_map:  # to the nearest of the other classes
        outside = _outside(target, spacing, cap) if outside is None else outside
        return outside.scatter(1, target.classes.long(), math.inf).amin(1, keepdim=True)
    if target.valid is not None:
        return distance_transform(~target.classes & target.valid, spacing, cap)
    assert outside is not None
    return outside  # a region's border is the same from either side


def _label_target(target: Tensor, num_classes: int, spacing: Sequence[float] | None) -> Target:
    target = readable(target)
    if target.ndim not in (4, 5) or target.shape[1] != 1 or 0 in target.shape[2:]:
        raise ValueError(f"target must be a label map (B, 1, *spatial) of voxels in 2-D or 3-D. Got: {tuple(target.shape)}")
    check_number("num_classes", num_classes, least=1, whole=True)
    if spacing is not None:
        check_spacing(spacing, None)
        grid_spacing(spacing, None, target.shape[2:])  # one for each axis
    return Target(check_labels(target, num_classes - 1).long(), None, is_label_map=True, num_classes=num_classes)
