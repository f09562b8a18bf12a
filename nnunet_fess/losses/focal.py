"""Focal loss: cross entropy that the easy voxels leave to the hard ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.voxel_loss import VoxelLoss, Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class FocalLoss(VoxelLoss):
    r"""Focal loss, mean over the valid voxels; for regions binary, mean over voxels and channels.

    .. math:: L = -\frac{1}{N} \sum_i (1 - p_{iy})^γ \log p_{iy}, \quad y \text{ the voxel's class}

    Args:
        gamma: γ; 0 is cross entropy.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as `SpatialLoss`; a gamma that is neither 0 nor at least 1 (between them its gradient is infinite at p = 1).

    Source: Lin et al. 2017, arXiv 1708.02002; γ = 2 and no class weights, as the baseline of arXiv 2108.01405 has it.

    Example:
        >>> import torch
        >>> FocalLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.1733)
    """

    def __init__(self, gamma: float = 2.0, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        check_number("gamma", gamma, least=0)
        if 0 < gamma < 1:
            raise ValueError(f"gamma must be 0 or at least 1. Got: {gamma}")
        self.gamma = gamma

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean of (1 - p)^γ CE."""
        entropy = voxels.cross_entropy
        # 1 - p = 1 - exp(-CE), which keeps its digits where p is close to 1.
        missing = -torch.expm1(-entropy)
        return {"focal": voxels.mean(missing.pow(self.gamma) * entropy)}
