"""The contour of every class at once: voxels whose window holds another label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_fess.losses.target import Convention, Target, check_convention, check_labels


def contour_map(
    target: Tensor,
    iterations: int = 6,
    convention: Convention = "paper",
    *,
    ignore_label: int | None = None,
    ignore_mask: Tensor | None = None,
) -> Tensor:
    r"""Mark the voxels that erosion takes from their class, background included.

    .. math:: C = \bigcup_j G_j - (G_j \ominus k)

    with k the box of 3 voxels per axis, applied `iterations` times, which is one box of 2·iterations + 1. Labels are
    disjoint, so a voxel is eroded away from its class just when its box holds another label: one pass serves any number
    of classes. Boxes reach through edges and corners (full connectivity).

    Args:
        target: label map (B, 1, *spatial), or regions (B, C, *spatial) of 0 and 1, each channel a label map of its own.
            Any dtype, any whole numbers from 0 on, 2-D or 3-D.
        iterations: rim's width on either side of a border, in voxels.
        convention: "paper": only voxels of another class make a contour, an array's border does not (a patch's border
            is no organ's border). "released": outside the array is another class, as in the authors' code.
        ignore_label: voxels with this label are no contour and cause none.
        ignore_mask: bool (B, 1, *spatial), the same for the voxels where it is True.

    Returns:
        bool (B, 1, *spatial), for regions (B, C, *spatial), on the target's device.

    Raises:
        ValueError: ill shapes, fractional or negative labels, iterations < 1, an unknown convention.

    Source: arXiv 2407.06176, section 2.

    Example:
        >>> contour_map(torch.tensor([[[[0, 0, 0, 1, 1, 1]]]]), iterations=1).int()
        tensor([[[[0, 0, 1, 1, 0, 0]]]], dtype=torch.int32)
    """
    if target.ndim not in (4, 5):
        raise ValueError(f"target must be (B, C, *spatial) in 2-D or 3-D. Got: {tuple(target.shape)}")
    valid = None if ignore_mask is None else ~ignore_mask
    if ignore_label is not None:
        labelled = target != ignore_label
        valid = labelled if valid is None else valid & labelled
        target = target.masked_fill(~labelled, 0)
    labels = check_labels(target)
    if labels.dtype not in (torch.bool, torch.uint8) and labels.numel() and int(labels.max()) < 256:
        labels = labels.to(torch.uint8)
    return Contour(iterations, convention).of_labels(labels, valid)


class Contour:
    """The rule by which contours are drawn, checked once and then applied to checked targets."""

    def __init__(self, iterations: int = 6, convention: Convention = "paper") -> None:
        check_convention(convention)
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1. Got: {iterations}")
        self.iterations = iterations
        self.convention = convention

    def of(self, target: Target) -> Tensor:
        """Contour (B, 1, *spatial) of a label map, (B, C, *spatial) of regions."""
        labels = target.classes if target.num_classes > 256 else target.classes.to(torch.uint8)
        return self.of_labels(labels, target.valid)

    def of_labels(self, labels: Tensor, valid: Tensor | None) -> Tensor:
        """Contour of labels in any integer dtype."""
        window = [self.iterations] * (labels.ndim - 2)
        mixed = _holds_another_label(labels, valid, window)
        if self.convention == "released":
            mixed |= _near_border(labels.shape[2:], window, labels.device)
        return mixed if valid is None else mixed & valid


def _holds_another_label(labels: Tensor, valid: Tensor | None, window: Sequence[int]) -> Tensor:
    """Whether the windowed maximum differs from the windowed minimum, both over valid voxels within the array."""
    labels = labels.to(torch.uint8) if labels.dtype == torch.bool else labels
    top = torch.iinfo(labels.dtype).max
    # The minimum is the maximum of the complement, so that 0 is neutral for both, in padding and at ignored voxels.
    both = torch.stack((labels, top - labels))
    if valid is not None:
        both *= valid
    for axis, radius in enumerate(window):
        both = _windowed_max(both, axis + 3, radius)
    return both[0] != top - both[1]


def _windowed_max(values: Tensor, axis: int, radius: int) -> Tensor:
    """Maximum over 2·radius + 1 entries along an axis; entries outside count as 0. Doubles its reach in every step."""
    length = values.shape[axis]
    radius = min(radius, length - 1)
    if radius == 0:
        return values
    shape = list(values.shape)
    shape[axis] = radius
    zeros = values.new_zeros(shape)
    values = torch.cat((zeros, values, zeros), axis)
    reach, full = 1, 2 * radius + 1
    while reach < full:
        step = min(reach, full - reach)
        rest = values.shape[axis] - step
        values = torch.maximum(values.narrow(axis, 0, rest), values.narrow(axis, step, rest))
        reach += step
    return values


def _near_border(spatial: Sequence[int], window: Sequence[int], device: torch.device) -> Tensor:
    """Whether the window leaves the array."""
    near = torch.zeros(tuple(spatial), dtype=torch.bool, device=device)
    for axis, radius in enumerate(window):
        near.narrow(axis, 0, min(radius, spatial[axis])).fill_(True)
        near.narrow(axis, max(spatial[axis] - radius, 0), min(radius, spatial[axis])).fill_(True)
    return near
