"""Soft Dice."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses.spatial import SpatialLoss
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.target import Convention, check_convention


def one_minus_dice(hit: Tensor, predicted: Tensor, actual: Tensor, smooth: float, pooled: bool = False) -> Tensor:
    """Mean of 1 - (2·hit + ε) / (predicted + actual + ε) over all entries.

    Args:
        hit: Σ p·g, any shape.
        predicted: Σ p, same shape.
        actual: Σ g, same shape.
        smooth: ε.
        pooled: one ratio of the sums over all entries instead.
    """
    if pooled:
        hit, predicted, actual = hit.sum(), predicted.sum(), actual.sum()
    return (1 - (2 * hit + smooth) / (predicted + actual + smooth)).mean()


class DiceLoss(SpatialLoss):
    r"""Soft Dice loss, between 0 and 1.

    .. math:: L = \frac{1}{M} \sum_j 1 - \frac{2 \sum_i p_{ij} g_{ij} + ε}{\sum_i p_{ij} + \sum_i g_{ij} + ε}

    over the M foreground classes of a label map, or over all regions; p is the softmax or sigmoid of the logits. A class
    that is neither there nor predicted has a Dice of 1; predicted where it is not, a Dice near 0.

    Args:
        convention: "paper": mean over classes and samples. "released": one ratio of the sums over all classes and
            samples, as the code of arXiv 2402.08582 and of arXiv 2407.06176 computes it.
        batch_dice: see `SpatialLoss`, as the others.
        smooth: ε.
        ignore_label: see `SpatialLoss`.
        distributed: see `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels, an unknown convention, a smooth below 1e-6.

    Example:
        >>> import torch
        >>> DiceLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.3333)
    """

    def __init__(
        self,
        convention: Convention = "paper",
        *,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        ignore_label: int | None = None,
        distributed: bool = False,
    ) -> None:
        super().__init__(ignore_label=ignore_label, distributed=distributed, batch_dice=batch_dice, smooth=smooth)
        check_convention(convention)
        self.convention = convention

    def terms(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - Dice."""
        pooled = self.convention == "released"
        return {"dice": one_minus_dice(sums.hit[:, 0], sums.predicted, sums.actual[:, 0], self.smooth, pooled)}
