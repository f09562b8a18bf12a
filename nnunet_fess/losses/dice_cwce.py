"""Dice plus contour-weighted cross entropy: the contour-weighted loss without its separable Dice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.contour_loss import ContourLoss, ContourLossOptions
from nnunet_fess.losses.contour_weighted import check_contour_weight, contour_weight_map, contour_weighted_cross_entropy
from nnunet_fess.losses.dice import one_minus_dice
from nnunet_fess.losses.maps.contour import Contour
from nnunet_fess.losses.sums import ClassSums

if TYPE_CHECKING:
    from typing_extensions import Unpack


class DiceCWCELoss(ContourLoss):
    r"""Dice and contour-weighted cross entropy.

    .. math:: L = L_{Dice} + L_{CWCE}

    the sum of `DiceLoss` and `ContourWeightedCrossEntropyLoss`. Beside `CWCDLoss` it tells what separable Dice is worth, beside
    `DiceCELoss` what the weight of the contour is worth.

    Args:
        contour_weight: of the cross entropy, see `ContourWeightedCrossEntropyLoss`.
        contour: which voxels are contour; None: 6 voxels on either side of a border. Its convention is the loss's, "paper" or
            "released", see the two parts.
        batch_dice: see `SumsLoss`.
        smooth: ε of the Dice part; None: 1e-5, in the released convention 1e-3.
        options: the arguments of `SpatialLoss`, and those of `Contour` in place of one: `iterations=3`.

    Raises:
        ValueError: as the two parts.

    Source: ours; its parts are of arXiv 2407.06176, which does not add them up.
    """

    def __init__(
        self,
        contour_weight: float = 2.0,
        contour: Contour | None = None,
        *,
        batch_dice: bool = False,
        smooth: float | None = None,
        **options: Unpack[ContourLossOptions],
    ) -> None:
        super().__init__(contour, options, batch_dice=batch_dice, smooth=smooth)
        check_contour_weight(contour_weight)
        self.contour_weight = contour_weight

    def voxel_weight(self, maps: dict[str, Tensor]) -> Tensor:
        """1 + w_c on the contour."""
        return contour_weight_map(maps["contour"], self.contour_weight)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - Dice of both parts together, and CWCE."""
        dice = one_minus_dice(sums.hit.sum(1), sums.missed.sum(1), sums.false, self.smooth)
        return {"dice": dice, "cwce": contour_weighted_cross_entropy(sums, self.contour_weight)}

    def released_formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - Dice, pooled, and CWCE with the plain cross entropy."""
        cwce = released.contour_weighted_cross_entropy(sums, self.contour_weight)
        return {"dice": released.dice(sums, self.smooth), "cwce": cwce}
