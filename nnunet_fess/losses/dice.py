"""Soft Dice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.sums_loss import SumsLoss
from nnunet_fess.losses.target import Convention

if TYPE_CHECKING:
    from typing_extensions import Unpack


def dice_complement(hit: Tensor, missed: Tensor, false: Tensor, smooth: float) -> Tensor:
    """1 - (2·hit + ε) / (predicted + actual + ε) of every entry, without that difference.

    Args:
        hit: Σ p·g, any shape.
        missed: Σ (1 - p)·g, same shape.
        false: Σ p·(1 - g), same shape.
        smooth: ε.
    """
    # A subnormal sum has no digits left: it is 0.
    astray = F.threshold(missed + false, torch.finfo(hit.dtype).tiny, 0.0)
    return astray / (2 * hit + astray + smooth)


def one_minus_dice(hit: Tensor, missed: Tensor, false: Tensor, smooth: float) -> Tensor:
    """Mean of `dice_complement` over all entries."""
    return dice_complement(hit, missed, false, smooth).mean()


class DiceLoss(SumsLoss):
    r"""Soft Dice loss, between 0 and 1.

    .. math:: L = \frac{1}{M} \sum_j 1 - \frac{2 \sum_i p_{ij} g_{ij} + ε}{\sum_i p_{ij} + \sum_i g_{ij} + ε}

    over the M foreground classes of a label map, or over all regions; p is the softmax or sigmoid of the logits. A class
    that is neither there nor predicted has a Dice of 1; predicted where it is not, a Dice near 0.

    Args:
        convention: "paper": mean over classes and samples. "released": one ratio of the sums over all classes and
            samples, as the code of arXiv 2402.08582 and of arXiv 2407.06176 computes it.
        batch_dice: see `SumsLoss`, as the others.
        smooth: ε.
        do_bg: the background of a label map is one of the classes (nnU-Net's name for it), as the baseline of arXiv 2108.01405
            has it.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels, an unknown convention, a smooth below 1e-6.

    Example:
        >>> import torch
        >>> DiceLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(0.3333)
    """

    entropy = False

    def __init__(
        self,
        convention: Convention = "paper",
        *,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        do_bg: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(convention=convention, batch_dice=batch_dice, smooth=smooth, **common)
        self.do_bg = do_bg

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - Dice."""
        return {"dice": one_minus_dice(sums.hit[:, 0], sums.missed[:, 0], sums.false, self.smooth)}

    def released_formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - Dice, pooled."""
        return {"dice": released.dice(sums, self.smooth)}
