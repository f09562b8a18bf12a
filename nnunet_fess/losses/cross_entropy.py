"""Cross entropy."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.sums_loss import SumsLoss


class CrossEntropyLoss(SumsLoss):
    r"""Cross entropy, mean over the valid voxels; for regions binary, mean over voxels and channels.

    .. math:: L = -\frac{1}{N} \sum_i \sum_j g_{ij} \log p_{ij}

    0, with zero gradient, if every voxel is ignored.

    Args:
        ignore_label: see `SpatialLoss`.
        distributed: see `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels.

    Example:
        >>> import torch
        >>> CrossEntropyLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.6931)
    """

    def __init__(self, *, ignore_label: int | None = None, distributed: bool = False) -> None:
        super().__init__(ignore_label=ignore_label, distributed=distributed)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """Σ CE / N."""
        return {"ce": sums.mean_cross_entropy}
