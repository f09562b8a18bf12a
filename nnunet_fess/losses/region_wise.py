"""Region-wise losses: every probability times a map of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.distance_loss import DistanceLoss, DistanceOptions
from nnunet_fess.losses.maps.region_wise import active_contour, rectified_region_wise
from nnunet_fess.losses.target import Convention, Target, check_convention
from nnunet_fess.losses.voxel_loss import Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


RegionWiseMap = Literal["rrw", "boundary", "active_contour"]


class RegionWiseLoss(DistanceLoss):
    r"""Region-wise loss: rectified region-wise (RRW), boundary or active contour, by its map.

    .. math:: L = \frac{1}{N C} \sum_i \sum_j (p_{ij} - g_{ij}) Z_{ij}

    over voxels and classes, background included (for regions: over channels), Z the map, see `rrw_map`, `boundary_map`,
    `active_contour_map`. The published Σ p·Z is negative for good predictions; it is compared with its least value here, Σ g·Z,
    which changes no gradient: the loss is 0 for a perfect prediction. Boundary distances are divided by the unit of
    `DistanceLoss`, so that Z is a plain number in all three.

    Args:
        map: "rrw": -d / max d inside, 1 outside. "boundary": signed distance. "active_contour": -1 inside, 1 outside.
        convention: "paper": as above. "released": mean of p·Z, with distances in voxels, not scaled, and for an absent class
            the boundary map of the class before it, as the code of arXiv 2108.01405 computes it; for comparison, for it may be
            negative.
        options: those of `DistanceLoss` (rrw and active_contour have no use for a cap) and of `SpatialLoss`.

    Raises:
        ValueError: as `DistanceLoss`; an unknown map or convention.

    Source: Valverde & Tohka 2022, arXiv 2108.01405; the boundary loss: Kervadec et al. 2019, arXiv 1812.07032.

    Example:
        >>> import torch
        >>> RegionWiseLoss("active_contour")(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.5000)
    """

    def __init__(
        self, map: RegionWiseMap = "rrw", convention: Convention = "paper", **options: Unpack[DistanceOptions]
    ) -> None:
        super().__init__(**options)
        check_convention(convention)
        if map not in get_args(RegionWiseMap):
            raise ValueError(f"map must be one of {', '.join(get_args(RegionWiseMap))}. Got: {map!r}")
        self.map = map
        self.convention = convention

    def maps(self, target: Target) -> dict[str, Tensor]:
        """Z, by its name; of the boundary map in mm."""
        if self.map == "active_contour":
            return {self.map: active_contour(target)}
        in_voxels = self.convention == "released"
        if self.map == "rrw":
            return {self.map: rectified_region_wise(target, None if in_voxels else self.spacing_of(target))}
        return {self.map: released.boundary_map(target) if in_voxels else self.signed(target)}

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean of (p - g)·Z."""
        target, weight = voxels.target, maps[self.map].to(voxels.logits.dtype)
        if self.convention == "released":
            return {self.map: voxels.mean(voxels.probability * weight)}
        if self.map == "boundary":
            weight = weight / self.unit(target)
        if not target.is_label_map:
            return {self.map: voxels.mean(voxels.error * weight.abs())}
        # Σ_j p_j (Z_j - Z_y): no difference is taken that could be summed directly, since Σ p = 1
        own = torch.gather(weight, 1, target.classes.long())
        return {self.map: voxels.mean(voxels.probability * (weight - own))}
