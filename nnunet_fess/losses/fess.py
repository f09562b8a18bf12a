"""FESS: soft Dice and the contrastive term, weighted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from nnunet_fess.losses import released
from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.dice import DiceLoss
from nnunet_fess.losses.feature.fess_contrastive import FESSContrastiveLoss
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.target import Convention, parse_target

if TYPE_CHECKING:
    from typing_extensions import Unpack


class FESSLoss(nn.Module):
    r"""Feature-enhanced segmentation loss (FESS).

    .. math:: L = λ L_{Dice} + (1 - λ) L_{con}

    Args:
        dice_weight: λ in 0 … 1.
        temperature: Δ of the contrastive term, see `fess_contrastive_loss`.
        learning_rate: η of the contrastive term.
        smooth: ε of Dice.
        convention: "paper": Dice per class, see `DiceLoss`. "released": the sigmoid of every channel (in a label map: of
            every foreground channel) and one ratio of the sums over the whole batch.
        batch_dice: see `SumsLoss`.
        common: the arguments of `SpatialLoss`; distributed, the contrastive softmax, too, is taken over all ranks.

    Shape:
        net_output and target as in `SpatialLoss`; present, previous (B, C, *spatial) embeddings; result: scalar.

    Raises:
        ValueError: ill shapes, labels or options.

    Source: arXiv 2402.08582.
    """

    def __init__(
        self,
        dice_weight: float = 0.5,
        temperature: float = 0.5,
        learning_rate: float = 1e-5,
        smooth: float = 1e-5,
        convention: Convention = "paper",
        *,
        batch_dice: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__()
        check_number("dice_weight", dice_weight, least=0, most=1)
        self.dice_weight = dice_weight
        self.dice = DiceLoss(convention, batch_dice=batch_dice, smooth=smooth, **common)
        self.contrastive = FESSContrastiveLoss(temperature, learning_rate, distributed=self.dice.distributed)

    def forward(self, net_output: Tensor, target: Tensor, present: Tensor, previous: Tensor | None) -> Tensor:
        """λ·Dice + (1 - λ)·contrastive; λ·Dice alone in the first step, when there is no previous batch."""
        truth = parse_target(net_output, target, self.dice.ignore_label, self.dice.target_kind)
        if self.dice.convention == "released":
            net_output, truth = released.foreground_as_regions(net_output, truth)
        loss = self.dice_weight * self.dice.of_target(net_output, truth)
        if previous is None:
            return loss
        return loss + (1 - self.dice_weight) * self.contrastive(present, previous)
