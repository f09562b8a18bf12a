"""The contour of every class at once: voxels whose window holds another label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from operator import le
from typing import TypedDict

import torch
from torch import Tensor

from nnunet_fess.losses.blocks import in_threads, undivided
from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.maps.spacing import check_spacing, grid_spacing, voxels_at_least_one
from nnunet_fess.losses.maps.windows import windowed_max, windowed_or
from nnunet_fess.losses.target import Convention, Target, check_convention, check_labels, readable


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
    target = readable(target)
    if target.ndim not in (4, 5):
        raise ValueError(f"target must be (B, C, *spatial) in 2-D or 3-D. Got: {tuple(target.shape)}")
    rule = Contour(iterations, convention, thickness_mm=thickness_mm, spacing=spacing, adaptive=adaptive)
    valid = None if ignore_mask is None else ~ignore_mask
    if ignore_label is not None:
        labelled = target != ignore_label
        valid = labelled if valid is None else valid & labelled
        target = target.masked_fill(~labelled, 0)
    if target.shape[1] > 1:
        return rule.of_regions(check_labels(target, 1).bool(), valid)
    labels = check_labels(target)
    return rule.of_labels(labels, valid, int(labels.max()) + 1 if labels.numel() else 1)


class ContourOptions(TypedDict, total=False):
    """The keyword arguments of `Contour`, which a loss takes, too."""

    iterations: int
    convention: Convention
    thickness_mm: float | None
    spacing: Sequence[float] | None
    patch_size: Sequence[int] | None
    adaptive: bool


@dataclass(frozen=True)
class Contour:
    """The rule by which contours are drawn: options as in `contour_map`, checked once, for targets checked before.

    Args:
        iterations: width in voxels.
        convention: "paper" or "released".
        thickness_mm: width in mm instead.
        spacing: mm per axis, with `thickness_mm`.
        patch_size: shape of the grid with that spacing. Targets of another shape cover the same field of view (the
            scales of deep supervision), and their spacing follows from it. None: the spacing is that of every target.
        adaptive: narrower rims in small structures.

    Raises:
        ValueError: a width below one voxel or 0 mm, a thickness without spacing, an unknown convention, an ill spacing.
    """

    iterations: int = 6
    convention: Convention = "paper"
    _: KW_ONLY
    thickness_mm: float | None = None
    spacing: Sequence[float] | None = None
    patch_size: Sequence[int] | None = None
    adaptive: bool = False

    def __post_init__(self) -> None:
        """Check the options."""
        check_convention(self.convention)
        check_spacing(self.spacing, self.patch_size)
        check_number("iterations", self.iterations, least=1, whole=True)
        if self.thickness_mm is not None:
            check_number("thickness_mm", self.thickness_mm, above=0)
        if self.thickness_mm is not None and self.spacing is None:
            raise ValueError(f"a thickness in mm needs the spacing in mm per axis. Got: spacing={self.spacing}")

    def window(self, spatial_shape: Sequence[int]) -> list[int]:
        """The rim's width in voxels per axis on a grid of this shape."""
        if self.thickness_mm is None or self.spacing is None:
            return [self.iterations] * len(spatial_shape)
        return voxels_at_least_one(self.thickness_mm, grid_spacing(self.spacing, self.patch_size, spatial_shape))

    def of(self, target: Target) -> Tensor:
        """Contour (B, 1, *spatial) of a label map, (B, C, *spatial) of regions."""
        classes, valid = target.classes, target.valid

        def of_sample(sample: slice) -> Tensor:
            here = None if valid is None else valid[sample]
            if target.is_label_map:
                return self.of_labels(classes[sample], here, target.num_classes)
            return self.of_regions(classes[sample], here)

        if classes.device.type != "cpu" or torch.compiler.is_compiling():
            return of_sample(slice(None))
        if classes[:1, :1].numel() < _MANY_VOXELS:
            with undivided():
                return of_sample(slice(None))
        return torch.cat(in_threads(of_sample, [slice(i, i + 1) for i in range(len(classes))]))

    def of_labels(self, labels: Tensor, valid: Tensor | None, number: int) -> Tensor:
        """Contour of the labels 0 … number - 1 in any integer dtype."""
        if number <= 8:
            return self._of_few_labels(labels, valid)
        labels = labels.to(torch.uint8) if number <= 256 else labels
        top = torch.iinfo(labels.dtype).max
        # Windowed maxima of the labels and of their complement, that is, minima: 0 is neutral for both.
        extremes = torch.stack((labels, top - labels))
        if valid is not None:
            extremes *= valid

        def mixed(seen: Tensor) -> Tensor:
            return seen[0] != top - seen[1]

        def near_own_core(core: Tensor, reach: list[int]) -> Tensor:
            return _near_own_core(labels, core if valid is None else core & valid, reach, number)

        windowed = partial(windowed_max, outside=top if self.convention == "released" else 0)
        contour = _rims(extremes, self._widths(labels.shape[2:]), windowed, mixed, near_own_core)
        return contour if valid is None else contour & valid

    def _of_few_labels(self, labels: Tensor, valid: Tensor | None) -> Tensor:
        """A bit per label: half of the bytes that maxima and minima need. Flags are bytes of eight equal bits."""
        own = torch.ones_like(labels, dtype=torch.uint8) << labels.to(torch.uint8)
        if valid is not None:
            own *= valid

        def flags(bits: Tensor) -> Tensor:
            return bits.clamp(max=1).neg_()

        def mixed(seen: Tensor) -> Tensor:
            return flags(seen & seen - 1)

        def near_own_core(core: Tensor, reach: list[int]) -> Tensor:
            return flags(own & windowed_or(own & core, reach))

        windowed = partial(windowed_or, outside=255 if self.convention == "released" else 0)
        contour = _rims(own, self._widths(labels.shape[2:]), windowed, mixed, near_own_core)
        return (contour & (1 if valid is None else valid)).clamp_(max=1).view(torch.bool)

    def of_regions(self, regions: Tensor, valid: Tensor | None) -> Tensor:
        """Contour of bool channels, each for itself: four of them are the bits of one byte, and cost as much as one."""
        counted = 15 if valid is None else _pack(valid.expand_as(regions))
        inside = _pack(regions)
        own = (inside | (inside ^ 15) << 4) & counted * 17  # low four bits: in the region; high four: out of it

        def mixed(seen: Tensor) -> Tensor:
            return seen & seen >> 4

        def near_own_core(core: Tensor, reach: list[int]) -> Tensor:
            near = own & windowed_or(own & (core & 15) * 17, reach)
            return near | near >> 4

        windowed = partial(windowed_or, outside=255 if self.convention == "released" else 0)
        contour = _rims(own, self._widths(regions.shape[2:]), windowed, mixed, near_own_core)
        return _unpack(contour & counted, regions.shape[1])

    def _widths(self, spatial_shape: Sequence[int]) -> list[list[int]]:
        """The rim's widths from which its voxels choose, narrow to wide."""
        width = self.window(spatial_shape)
        return _halvings(width) if self.adaptive else [width]


def _rims(
    seen: Tensor,
    widths: list[list[int]],
    windowed: Callable[[Tensor, list[int]], Tensor],
    mixed: Callable[[Tensor], Tensor],
    near_own_core: Callable[[Tensor, list[int]], Tensor],
) -> Tensor:
    """The rule itself, whatever the encoding.

    Args:
        seen: which classes there are in a voxel's window, which here is the voxel itself.
        widths: of the rim, narrow to wide.
        windowed: what is seen in larger windows.
        mixed: flags of the voxels that see more than one class.
        near_own_core: flags of the voxels that have a core voxel of their own class within reach.
    """
    own = (0,) * len(widths[0])
    needed = {tuple(width) for width in widths} | {_times(2, width) for width in widths[1:]}
    sights, flags = {own: seen}, {}
    for window in sorted(needed, key=sum):
        # Grown from the largest window inside it that is there already.
        start = max((done for done in sights if all(map(le, done, window))), key=sum)
        sights[window] = windowed(sights[start], [there - here for there, here in zip(window, start, strict=True)])
        flags[window] = mixed(sights[window])
    contour = flags[tuple(widths[0])]  # the finest width needs no condition
    for width in widths[1:]:
        contour = contour | (flags[tuple(width)] & near_own_core(~flags[_times(2, width)], [3 * w for w in width]))
    return contour


def _times(factor: int, width: list[int]) -> tuple[int, ...]:
    return tuple(factor * w for w in width)


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


def _pack(channels: Tensor) -> Tensor:
    """Bools (B, C, *spatial) as the low four bits of uint8 (B, ⌈C / 4⌉, *spatial)."""
    bit = _bit(channels)
    return torch.stack(
        [(four.view(torch.uint8) * bit[: four.shape[1]]).sum(1, dtype=torch.uint8) for four in channels.split(4, 1)], 1
    )


def _unpack(packed: Tensor, channels: int) -> Tensor:
    """The bools (B, C, *spatial) again."""
    bit = _bit(packed)
    return torch.cat([four & bit[: channels - 4 * i] for i, four in enumerate(packed.split(1, 1))], 1).bool()


def _bit(like: Tensor) -> Tensor:
    """1, 2, 4, 8 along the channels."""
    return (1 << torch.arange(4, device=like.device)).to(torch.uint8).view(4, *[1] * (like.ndim - 2))


# From here on a sample by itself is faster, since it stays in the cache, and can have a thread of its own.
_MANY_VOXELS = 1 << 20
_BITS = {torch.uint8: 8, torch.int16: 15, torch.int32: 31, torch.int64: 63}
