"""The contour of every class at once: voxels whose window holds another label."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_fess.losses.spacing import check_spacing, grid_spacing, voxels_at_least_one
from nnunet_fess.losses.target import Convention, Target, check_convention, check_labels
from nnunet_fess.losses.windows import windowed_max, windowed_or


def contour_map(
    target: Tensor,
    iterations: int = 6,
    convention: Convention = "paper",
    *,
    thickness_mm: float | None = None,
    spacing: Sequence[float] | None = None,
    adaptive: bool = False,
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
        iterations: the rim's width on either side of a border, in voxels.
        convention: "paper": only voxels of another class make a contour, an array's border does not (a patch's border
            is no organ's border). "released": outside the array is another class, as in the authors' code.
        thickness_mm: the rim's width in mm, in place of `iterations`: on each axis the nearest number of voxels, at
            least one. On an axis whose voxels are longer than the thickness the rim is therefore one voxel wide, the
            thinnest that still separates two labels there.
        spacing: voxel size in mm per axis, in the array's order; needed with `thickness_mm`.
        adaptive: narrow the rim where the structure is small, see below.
        ignore_label: voxels with this label are no contour and cause none.
        ignore_mask: bool (B, 1, *spatial), the same for the voxels where it is True.

    Returns:
        bool (B, 1, *spatial), for regions (B, C, *spatial), on the target's device.

    Raises:
        ValueError: ill shapes, fractional or negative labels, a width below one voxel or 0 mm, a thickness without
            spacing, an unknown convention.

    Note:
        The adaptive rim takes at most half of the inscribed radius. Let w be the asked width, halved again and again
        (rounded up) down to one voxel. A voxel has the rim of width w if near it (within 3w) its own class has a core
        of depth 2w, else that of w/2 under the same condition, and so on; one voxel needs no condition. So a class that
        survives one erosion keeps a core, and boxes of at least 4w + 1 voxels and balls of radius 4w or more keep the
        fixed rim.

    Source: arXiv 2407.06176, section 2 (thickness in mm and the adaptive rim are ours).

    Example:
        >>> import torch
        >>> contour_map(torch.tensor([[[[0, 0, 0, 1, 1, 1]]]]), iterations=1).int()
        tensor([[[[0, 0, 1, 1, 0, 0]]]], dtype=torch.int32)
    """
    if target.ndim not in (4, 5):
        raise ValueError(f"target must be (B, C, *spatial) in 2-D or 3-D. Got: {tuple(target.shape)}")
    rule = Contour(iterations, convention, thickness_mm=thickness_mm, spacing=spacing, adaptive=adaptive)
    valid = None if ignore_mask is None else ~ignore_mask
    if ignore_label is not None:
        labelled = target != ignore_label
        valid = labelled if valid is None else valid & labelled
        target = target.masked_fill(~labelled, 0)
    labels = check_labels(target, None if target.shape[1] == 1 else 1)
    return rule.of_labels(labels, valid, int(labels.max()) + 1 if labels.numel() else 1)


class Contour:
    """The rule by which contours are drawn: options as in `contour_map`, checked once, for targets checked before.

    Args:
        iterations: width in voxels.
        convention: "paper" or "released".
        thickness_mm: width in mm instead.
        spacing: mm per axis.
        patch_size: shape of the grid with that spacing. Targets of another shape cover the same field of view (the
            scales of deep supervision), and their spacing follows from it. None: the spacing is that of every target.
        adaptive: narrower rims in small structures.
    """

    def __init__(
        self,
        iterations: int = 6,
        convention: Convention = "paper",
        *,
        thickness_mm: float | None = None,
        spacing: Sequence[float] | None = None,
        patch_size: Sequence[int] | None = None,
        adaptive: bool = False,
    ) -> None:
        check_convention(convention)
        check_spacing(spacing, patch_size)
        if iterations < 1:
            raise ValueError(f"iterations must be at least 1. Got: {iterations}")
        if thickness_mm is not None and not thickness_mm > 0:
            raise ValueError(f"thickness_mm must be positive. Got: {thickness_mm}")
        if thickness_mm is not None and spacing is None:
            raise ValueError(f"a thickness in mm needs the spacing in mm per axis. Got: spacing={spacing}")
        self.iterations = iterations
        self.convention = convention
        self.thickness_mm = thickness_mm
        self.spacing = spacing
        self.patch_size = patch_size
        self.adaptive = adaptive

    def window(self, spatial_shape: Sequence[int]) -> list[int]:
        """The rim's width in voxels per axis on a grid of this shape."""
        if self.thickness_mm is None or self.spacing is None:
            return [self.iterations] * len(spatial_shape)
        return voxels_at_least_one(self.thickness_mm, grid_spacing(self.spacing, self.patch_size, spatial_shape))

    def of(self, target: Target) -> Tensor:
        """Contour (B, 1, *spatial) of a label map, (B, C, *spatial) of regions."""
        return self.of_labels(target.classes, target.valid, target.num_classes if target.is_label_map else 2)

    def of_labels(self, labels: Tensor, valid: Tensor | None, number: int) -> Tensor:
        """Contour of the labels 0 … number - 1 in any integer dtype, each channel for itself."""
        width = self.window(labels.shape[2:])
        widths = _halvings(width) if self.adaptive else [width]
        labels = labels.to(torch.uint8) if number <= 256 else labels
        top = torch.iinfo(labels.dtype).max
        outside = top if self.convention == "released" else 0

        # Windowed maxima of the labels and of their complement, that is, minima: 0 is neutral for both.
        extremes = torch.stack((labels, top - labels))
        if valid is not None:
            extremes *= valid
        contour, reached = torch.zeros_like(labels, dtype=torch.bool), [0] * len(width)
        for width in widths:
            extremes = windowed_max(extremes, [w - r for w, r in zip(width, reached, strict=True)], outside)
            eroded, reached = extremes[0] != top - extremes[1], width
            if width is not widths[0]:  # the finest width needs no condition
                deeper = windowed_max(extremes, width, outside)
                core = deeper[0] == top - deeper[1]
                eroded &= _near_own_core(labels, core if valid is None else core & valid, [3 * w for w in width], number)
            contour |= eroded
        return contour if valid is None else contour & valid


def _halvings(width: list[int]) -> list[list[int]]:
    """The widths from one voxel on every axis up to the given one, each half of the next."""
    widths = [width]
    while max(widths[0]) > 1:
        widths.insert(0, [(w + 1) // 2 for w in widths[0]])
    return widths


def _near_own_core(labels: Tensor, core: Tensor, reach: list[int], number: int) -> Tensor:
    """Whether a core voxel of the same label lies in the window: a bit per label, one pass for up to 63 labels."""
    near = torch.zeros_like(core)
    for first in range(0, number, 63):
        here = min(number - first, 63)
        dtype = next(d for d, bits in _BITS.items() if here <= bits)
        own = (labels >= first) & (labels < first + here)
        bit = torch.where(own, labels.to(dtype) - first, 0) if number > 63 else labels.to(dtype)
        found = windowed_or(torch.where(core & own, torch.ones_like(bit) << bit, 0), reach)
        near |= ((found >> bit) & 1).bool() & own
    return near


_BITS = {torch.uint8: 8, torch.int16: 15, torch.int32: 31, torch.int64: 63}
