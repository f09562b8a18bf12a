"""Dice and cross entropy, as nnU-Net's default, but 1 - Dice instead of -Dice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from nnunet_fess.losses.dice import one_minus_dice
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.sums_loss import SumsLoss

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DiceCELoss(SumsLoss):
    r"""Sum of `DiceLoss` and `CrossEntropyLoss` on one softmax.

    .. math:: L = L_{Dice} + L_{CE}

    Args:
        batch_dice: see `SumsLoss`, as the others.
        smooth: ε.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels, a smooth below 1e-6.

    Example:
        >>> import torch
        >>> DiceCELoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(1.0265)
    """

    def __init__(
        self,
        *,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(batch_dice=batch_dice, smooth=smooth, **common)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """Dice and CE."""
        dice = one_minus_dice(sums.hit[:, 0], sums.missed[:, 0], sums.false, self.smooth)
        return {"dice": dice, "ce": sums.mean_cross_entropy}
