"""What the contour losses share: one contour, drawn once, that divides the voxels."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.maps.contour import Contour, ContourOptions
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.sums_loss import SumsLoss
from nnunet_fess.losses.target import Target


class ContourLossOptions(ContourOptions, Common, total=False):
    """What a contour loss takes by keyword: the options of its `Contour`, and what every loss takes."""


class ContourLoss(SumsLoss):
    """A formula on sums that a contour divides into two parts.

    Args:
        contour: which voxels are contour; None: what the options say, by default 6 voxels on either side of a border. Its
            convention is the loss's.
        options: those of `Contour` and the arguments of `SpatialLoss`.
        batch_dice: see `SumsLoss`.
        smooth: ε; None: 1e-5, in the released convention 1e-3.

    Raises:
        ValueError: ill options, a contour and options for one.
    """

    def __init__(
        self,
        contour: Contour | None,
        options: ContourLossOptions,
        *,
        batch_dice: bool = False,
        smooth: float | None = None,
    ) -> None:
        common = {name: value for name, value in options.items() if name in Common.__annotations__}
        rule = {name: value for name, value in options.items() if name not in common}
        if contour is not None and rule:
            raise ValueError(f"give either a Contour or the options of one. Got both: contour and {', '.join(rule)}")
        contour = Contour(**rule) if contour is None else contour  # type: ignore[arg-type]
        super().__init__(
            convention=contour.convention,
            batch_dice=batch_dice,
            smooth=released.smooth_of(smooth, contour.convention),
            **common,  # type: ignore[arg-type]
        )
        self.contour = contour

    def maps(self, target: Target) -> dict[str, Tensor]:
        """The contour."""
        return {"contour": self.contour.of(target)}
