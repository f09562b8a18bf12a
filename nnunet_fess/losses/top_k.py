"""Cross entropy of the hardest voxels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.feature.gather import gather_over_ranks
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.voxel_loss import VoxelLoss, Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class TopKLoss(VoxelLoss):
    r"""Cross entropy of the k per cent of the batch's voxels (for regions: of voxels and channels) where it is largest.

    .. math:: L = \frac{1}{K} \sum_{i ∈ \text{top } K} -\log p_{iy}, \quad K = ⌈k N / 100⌉

    Args:
        k: in per cent of the valid voxels, as in nnU-Net's `TopKLoss`.
        common: the arguments of `SpatialLoss`; distributed, the hardest of all ranks are taken.

    Raises:
        ValueError: as `SpatialLoss`; a k that is not in (0, 100].

    Source: Wu et al. 2016, arXiv 1605.06885.
    """

    def __init__(self, k: float = 10.0, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        check_number("k", k, above=0, most=100)
        self.k = k

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean of the largest CE."""
        entropy, valid = voxels.cross_entropy, voxels.target.valid
        count = entropy.new_tensor(entropy.numel()) if valid is None else valid.sum().to(entropy.dtype) * entropy.shape[1]
        ranks = dist.get_world_size() if self.distributed and dist.is_available() and dist.is_initialized() else 1
        # As many as there can be; those that are too many, for voxels are ignored, do not count below.
        most = min(entropy.numel(), math.ceil(self.k / 100 * entropy.numel() * ranks))
        hardest = entropy.flatten().topk(most).values
        if ranks > 1:
            count = sum_over_ranks(count)
            hardest = gather_over_ranks(hardest).sort(descending=True).values
        wanted = (self.k / 100 * count).ceil()
        taken = torch.arange(len(hardest), device=hardest.device) < wanted
        return {"top_k": (hardest * taken).sum() / wanted.clamp_min(1)}
