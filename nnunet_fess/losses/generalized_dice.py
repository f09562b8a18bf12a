"""Generalised Dice: one ratio over all classes, small classes weighted up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.dice import one_minus_dice
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.sums_loss import SumsLoss
from nnunet_fess.losses.target import Convention

if TYPE_CHECKING:
    from typing_extensions import Unpack


class GDLoss(SumsLoss):
    r"""Generalised Dice loss (GDL), between 0 and 1.

    .. math:: L = 1 - \frac{2 \sum_j v_j \sum_i p_{ij} g_{ij} + ε}{\sum_j v_j (\sum_i p_{ij} + \sum_i g_{ij}) + ε},
        \quad v_j = \frac{1}{(\sum_i g_{ij})^2}

    over the foreground classes of a label map, or over all regions, per sample unless batch_dice. An absent class has no
    v_j of its own and takes the largest of those present (1 if none is): what is predicted of it still counts, without
    drowning the others.

    Args:
        convention: "paper": as above, v relative to its largest so that ε is a number of voxels. "released": the baseline of
            arXiv 2407.06176, v = 1 / ((Σ g)² + 0.001) and 1 - 2 (… + ε) / (… + ε), which rewards an empty patch with -1.
        batch_dice: see `SumsLoss`, as the others.
        smooth: ε.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels, an unknown convention, a smooth below 1e-6.

    Source: Sudre et al. 2017, arXiv 1707.03237; there background counts as a class, too.
    """

    entropy = False

    def __init__(
        self,
        convention: Convention = "paper",
        *,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(convention=convention, batch_dice=batch_dice, smooth=smooth, **common)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - generalised Dice."""
        hit, missed, actual = sums.hit[:, 0], sums.missed[:, 0], sums.actual[:, 0]
        there = actual > 0
        rarest = actual.masked_fill(~there, float("inf")).amin(1, keepdim=True)
        rarity = torch.where(there, (rarest / actual).square(), 1)
        hit, missed, false = ((rarity * x).sum(1) for x in (hit, missed, sums.false))
        return {"gdl": one_minus_dice(hit, missed, false, self.smooth)}

    def released_formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - generalised Dice with the code's weights."""
        return {"gdl": released.generalized_dice(sums, self.smooth)}
