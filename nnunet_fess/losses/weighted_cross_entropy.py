"""Cross entropy that weighs classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_numbers
from nnunet_fess.losses.maps.class_balance import class_balance
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.target import Target
from nnunet_fess.losses.voxel_loss import VoxelLoss, Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class WeightedCrossEntropyLoss(VoxelLoss):
    r"""Cross entropy with a weight per class (WCE).

    .. math:: L = -\frac{\sum_i w_{y} \log p_{iy}}{\sum_i w_{y}}, \quad y \text{ the voxel's class}

    Args:
        class_weights: w, one per class, background included (for regions: one per region, of its voxels; those outside of it
            weigh 1). None: N / (K·n_j) for a class of n_j voxels, one of K present in the batch, so that each has the same
            share.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as `SpatialLoss`; weights that are not positive, or of another number than there are channels.

    Source: a baseline of arXiv 2108.01405.
    """

    def __init__(self, class_weights: Sequence[float] | None = None, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.class_weights = None if class_weights is None else check_numbers("class_weights", class_weights, above=0)

    def maps(self, target: Target) -> dict[str, Tensor]:
        """The weight w of every voxel."""
        if self.class_weights is None:
            return {"weight": class_balance(target, self.distributed)}
        if len(self.class_weights) != target.num_classes:
            raise ValueError(f"there must be {target.num_classes} class_weights. Got: {len(self.class_weights)}")
        weights = torch.tensor(self.class_weights, device=target.classes.device)
        if target.is_label_map:
            return {"weight": weights[target.classes.long()]}
        return {"weight": torch.where(target.classes, weights.view(-1, *[1] * (target.classes.ndim - 2)), 1.0)}

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Σ w·CE / Σ w."""
        weight = maps["weight"].to(voxels.logits.dtype)
        mean = voxels.mean(weight)
        return {"wce": voxels.mean(weight * voxels.cross_entropy) / torch.where(mean > 0, mean, 1)}
