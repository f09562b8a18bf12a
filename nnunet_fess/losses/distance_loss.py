"""What the losses on distance maps share: a grid in mm, a cap, and the length that makes a distance a plain number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from nnunet_fess.losses.maps.region_wise import half_diagonal, signed_distance
from nnunet_fess.losses.maps.spacing import check_cap, check_spacing, grid_spacing
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.target import Target
from nnunet_fess.losses.voxel_loss import VoxelLoss

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DistanceOptions(Common, total=False):
    """The arguments of every `DistanceLoss`, for those that pass them on."""

    spacing: Sequence[float] | None
    patch_size: Sequence[int] | None
    cap: float | None


class DistanceLoss(VoxelLoss):
    """A formula on voxels and on their distances to the classes' borders.

    Distances are divided by half of the patch's diagonal, or by the cap if that is less: whatever the patch's size and the
    unit, they lie between -2 and 2, and so no loss grows with the volume. On every scale of deep supervision that length
    is the same, since a coarser grid covers the same field of view.

    Args:
        spacing: mm per axis; None: distances are in voxels.
        patch_size: spatial shape of the grid with that spacing, so that the spacing of the coarser targets of deep supervision
            is known. None: every target has that spacing.
        cap: in mm; voxels further from a border count as if they were that far. None: no cap.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as `SpatialLoss`; an ill spacing, a cap that is not positive.
    """

    def __init__(
        self,
        *,
        spacing: Sequence[float] | None = None,
        patch_size: Sequence[int] | None = None,
        cap: float | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        check_spacing(spacing, patch_size)
        check_cap(cap)
        self.spacing = spacing
        self.patch_size = patch_size
        self.cap = cap

    def spacing_of(self, target: Target) -> Sequence[float] | None:
        """Mm per axis on the target's grid."""
        return None if self.spacing is None else grid_spacing(self.spacing, self.patch_size, target.classes.shape[2:])

    def signed(self, target: Target) -> Tensor:
        """Signed distances to every class in mm: (B, C, *spatial), see `boundary_map`."""
        return signed_distance(target, self.spacing_of(target), self.cap)

    def unit(self, target: Target) -> float:
        """The length that distances are divided by, in mm."""
        length = half_diagonal(target.classes.shape[2:], self.spacing_of(target))
        return length if self.cap is None else min(length, self.cap)
