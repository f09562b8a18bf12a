"""Cross entropy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.sums_loss import SumsLoss

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CrossEntropyLoss(SumsLoss):
    r"""Cross entropy, mean over the valid voxels; for regions binary, mean over voxels and channels.

    .. math:: L = -\frac{1}{N} \sum_i \sum_j g_{ij} \log p_{ij}

    0, with zero gradient, if every voxel is ignored.

    Args:
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels.

    Example:
        >>> import torch
        >>> CrossEntropyLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.6931)
    """

    overlap = False

    def __init__(self, **common: Unpack[Common]) -> None:
        super().__init__(**common)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """Σ CE / N."""
        return {"ce": sums.mean_cross_entropy}
