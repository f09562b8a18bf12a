"""The contour-weighted loss: separable Dice plus contour-weighted cross entropy, with one contour and one softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.contour_loss import ContourLoss, ContourLossOptions
from nnunet_fess.losses.contour_weighted import check_contour_weight, contour_weight_map, contour_weighted_cross_entropy
from nnunet_fess.losses.maps.contour import Contour
from nnunet_fess.losses.separable_dice import check_contour_fraction, separable_dice
from nnunet_fess.losses.sums import ClassSums

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CWCDLoss(ContourLoss):
    r"""Contour-weighted cross entropy and separable Dice (CWCD).

    .. math:: L = L_{SDL} + L_{CWCE}

    the sum of `SeparableDiceLoss` and `ContourWeightedCrossEntropyLoss`, the contour computed once.

    Args:
        contour_weight: of the cross entropy, see `ContourWeightedCrossEntropyLoss`.
        contour_fraction: λ of the Dice part, see `SeparableDiceLoss`.
        contour: which voxels are contour; None: 6 voxels on either side of a border. Its convention is the loss's, "paper"
            or "released", see the two parts.
        batch_dice: see `SumsLoss`.
        smooth: ε of the Dice part; None: 1e-5, in the released convention 1e-3.
        options: the arguments of `SpatialLoss`, and those of `Contour` in place of one: `iterations=3`.

    Raises:
        ValueError: as the two parts.

    Source: arXiv 2407.06176, equation of CWCD.
    """

    def __init__(
        self,
        contour_weight: float = 2.0,
        contour_fraction: float = 0.5,
        contour: Contour | None = None,
        *,
        batch_dice: bool = False,
        smooth: float | None = None,
        **options: Unpack[ContourLossOptions],
    ) -> None:
        super().__init__(contour, options, batch_dice=batch_dice, smooth=smooth)
        check_contour_weight(contour_weight)
        check_contour_fraction(contour_fraction)
        self.contour_weight = contour_weight
        self.contour_fraction = contour_fraction

    def voxel_weight(self, maps: dict[str, Tensor]) -> Tensor:
        """1 + w_c on the contour."""
        return contour_weight_map(maps["contour"], self.contour_weight)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """The two of SDL, and CWCE."""
        dice = separable_dice(sums, self.contour_fraction, self.smooth)
        return dice | {"cwce": contour_weighted_cross_entropy(sums, self.contour_weight)}

    def released_formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """The two of SDL, pooled, and CWCE with the plain cross entropy."""
        dice = released.separable_dice(sums, self.smooth)
        return dice | {"cwce": released.contour_weighted_cross_entropy(sums, self.contour_weight)}
