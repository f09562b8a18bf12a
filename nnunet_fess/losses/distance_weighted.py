"""Cross entropy that counts the gaps between neighbouring structures more: the U-Net paper's weight map, online."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.maps.class_balance import class_balance
from nnunet_fess.losses.maps.distance import distances_to_two_nearest
from nnunet_fess.losses.maps.spacing import check_spacing, grid_spacing
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.target import Target
from nnunet_fess.losses.voxel_loss import VoxelLoss, Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DistanceWeightedCrossEntropyLoss(VoxelLoss):
    r"""Distance-weighted cross entropy (DWCE).

    .. math:: L = -\frac{1}{N} \sum_i w_i \sum_j g_{ij} \log p_{ij}, \quad
        w = w_c + w_0 \exp\left( -\frac{(d_1 + d_2)^2}{2 σ^2} \right)

    with d_1, d_2 the distances to the nearest and the second nearest foreground class (region), 0 inside it: w_0 acts
    where two structures come close, and vanishes if there is but one. The U-Net's structures are cells; ours are the
    classes of a sample. w_c balances the classes' frequencies: N / (K·n_j) for a voxel of class j, one of K present in
    the batch, so that every class has the same share in the sum and the mean of w_c is 1. For regions, per channel.

    Args:
        w0: w_0.
        sigma: σ, in mm if a spacing is given, else in voxels. The map is exact up to 5σ and w_c beyond.
        balance: False sets w_c = 1.
        spacing: mm per axis.
        patch_size: spatial shape of the grid with that spacing, see `CWCDLoss`.
        common: the arguments of `SpatialLoss`. Ignored voxels belong to no structure; distributed, w_c, too, is that of the
            whole batch.

    Raises:
        ValueError: ill shapes or labels, w0 < 0, sigma <= 0, an ill spacing.

    Source: Ronneberger et al. 2015, arXiv 1505.04597, equation 2. The code of arXiv 2407.06176 computes this map for its
    baseline and then does not use it.
    """

    overlap = False

    def __init__(
        self,
        w0: float = 10.0,
        sigma: float = 5.0,
        balance: bool = True,
        *,
        spacing: Sequence[float] | None = None,
        patch_size: Sequence[int] | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        check_number("w0", w0, least=0)
        check_number("sigma", sigma, above=0)
        check_spacing(spacing, patch_size)
        self.w0 = w0
        self.sigma = sigma
        self.balance = balance
        self.spacing = spacing
        self.patch_size = patch_size

    def maps(self, target: Target) -> dict[str, Tensor]:
        """The weights w: (B, 1, *spatial), for regions (B, C, *spatial)."""
        spatial = target.classes.shape[2:]
        spacing = [1.0] * len(spatial) if self.spacing is None else self.spacing
        nearest, second = distances_to_two_nearest(
            target.foreground, 5 * self.sigma, grid_spacing(spacing, self.patch_size if self.spacing else None, spatial)
        )
        between = self.w0 * torch.exp(-(nearest + second).square() / (2 * self.sigma**2))
        return {"weight": between + (class_balance(target, self.distributed) if self.balance else 1)}

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Σ w·CE / N."""
        return {"dwce": voxels.mean(maps["weight"] * voxels.cross_entropy)}
