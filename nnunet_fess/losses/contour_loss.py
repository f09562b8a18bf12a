"""What the contour losses share: one contour, drawn once, that divides the voxels."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.maps.contour import Contour, ContourOptions
from nnunet_fess.losses.sums_loss import SumsLoss
from nnunet_fess.losses.target import Target


class ContourLoss(SumsLoss):
    """A formula on sums that a contour divides into two parts.

    Args:
        contour: which voxels are contour; None: what the options say, by default 6 voxels on either side of a border. Its
            convention is the loss's.
        options: those of `Contour`.
        batch_dice: see `SumsLoss`.
        smooth: ε; None: 1e-5, in the released convention 1e-3.
        ignore_label: see `SpatialLoss`.
        distributed: see `SpatialLoss`.

    Raises:
        ValueError: ill options, a contour and options for one.
    """

    def __init__(
        self,
        contour: Contour | None,
        options: ContourOptions,
        *,
        batch_dice: bool = False,
        smooth: float | None = None,
        ignore_label: int | None = None,
        distributed: bool = False,
    ) -> None:
        if contour is not None and options:
            raise ValueError(f"give either a Contour or the options of one. Got both: contour and {', '.join(options)}")
        contour = Contour(**options) if contour is None else contour
        super().__init__(
            convention=contour.convention,
            batch_dice=batch_dice,
            smooth=released.smooth_of(smooth, contour.convention),
            ignore_label=ignore_label,
            distributed=distributed,
        )
        self.contour = contour

    def maps(self, target: Target) -> dict[str, Tensor]:
        """The contour."""
        return {"contour": self.contour.of(target)}
