"""The contour-weighted loss: separable Dice plus contour-weighted cross entropy, with one contour and one softmax."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nnunet_fess.losses.contour import Contour
from nnunet_fess.losses.contour_weighted import check_contour_weight, contour_weights
from nnunet_fess.losses.separable_dice import check_contour_fraction, default_smooth, separable_dice
from nnunet_fess.losses.spatial import SpatialLoss
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.target import Convention, Target


class CWCDLoss(SpatialLoss):
    r"""Contour-weighted cross entropy and separable Dice (CWCD).

    .. math:: L = L_{SDL} + L_{CWCE}

    the sum of `SeparableDiceLoss` and `ContourWeightedCrossEntropyLoss`, the contour computed once.

    Args:
        contour_weight: of the cross entropy, see `ContourWeightedCrossEntropyLoss`.
        contour_fraction: λ of the Dice part, see `SeparableDiceLoss`.
        iterations: width of the contour in voxels; this and the next options are described at `contour_map`.
        convention: "paper" or "released", see the two parts.
        thickness_mm: width of the contour in mm instead.
        spacing: mm per axis, with `thickness_mm`.
        patch_size: spatial shape of the grid with that spacing, so that the spacing of the coarser targets of deep
            supervision is known. None: every target has that spacing.
        adaptive: narrow contours in small structures.
        batch_dice: see `SpatialLoss`.
        smooth: ε of the Dice part; None: 1e-5, in the released convention 1e-3.
        ignore_label: see `SpatialLoss`.
        distributed: see `SpatialLoss`.

    Raises:
        ValueError: as the two parts.

    Source: arXiv 2407.06176, equation of CWCD.
    """

    contour: Contour

    def __init__(
        self,
        contour_weight: float = 2.0,
        contour_fraction: float = 0.5,
        iterations: int = 6,
        convention: Convention = "paper",
        *,
        thickness_mm: float | None = None,
        spacing: Sequence[float] | None = None,
        patch_size: Sequence[int] | None = None,
        adaptive: bool = False,
        batch_dice: bool = False,
        smooth: float | None = None,
        ignore_label: int | None = None,
        distributed: bool = False,
    ) -> None:
        super().__init__(
            ignore_label=ignore_label,
            distributed=distributed,
            batch_dice=batch_dice,
            smooth=default_smooth(smooth, convention),
        )
        check_contour_weight(contour_weight)
        check_contour_fraction(contour_fraction)
        self.contour_weight = contour_weight
        self.contour_fraction = contour_fraction
        self.contour = Contour(
            iterations,
            convention,
            thickness_mm=thickness_mm,
            spacing=spacing,
            patch_size=patch_size,
            adaptive=adaptive,
        )

    def voxel_weight(self, target: Target, contour: Tensor | None) -> Tensor | None:
        """1 + w_c on the contour."""
        assert contour is not None
        return contour_weights(contour, self.contour_weight, self.contour.convention)

    def terms(self, sums: ClassSums) -> dict[str, Tensor]:
        """The two of SDL, and CWCE."""
        dice = separable_dice(sums, self.contour_fraction, self.smooth, self.contour.convention)
        return dice | {"cwce": sums.mean_cross_entropy}
