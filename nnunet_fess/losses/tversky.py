"""Tversky and focal Tversky loss: Dice with a say on which error is worse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.sums_loss import SumsLoss

if TYPE_CHECKING:
    from typing_extensions import Unpack


class TverskyLoss(SumsLoss):
    r"""Tversky loss, between 0 and 1.

    .. math:: L = \frac{1}{M} \sum_j 1 - T_j, \quad
        T_j = \frac{\sum_i p g + ε}{\sum_i p g + α \sum_i p (1 - g) + β \sum_i (1 - p) g + ε}

    over the M foreground classes of a label map, or over all regions. α = β = 0.5 is Dice.

    Args:
        alpha: α, of false positives.
        beta: β, of what was missed.
        batch_dice: see `SumsLoss`, as the others.
        smooth: ε.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as `SumsLoss`; an alpha or beta that is not positive.

    Source: Salehi et al. 2017, arXiv 1706.05721.
    """

    entropy = False

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        *,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(batch_dice=batch_dice, smooth=smooth, **common)
        for value in (alpha, beta):
            check_number("alpha and beta", value, above=0)
        self.alpha = alpha
        self.beta = beta

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """1 - Tversky index."""
        return {"tversky": self._complement(sums).mean()}

    def _complement(self, sums: ClassSums) -> Tensor:
        astray = self.alpha * sums.false + self.beta * sums.missed[:, 0]
        astray = F.threshold(astray, torch.finfo(astray.dtype).tiny, 0.0)  # a subnormal sum has no digits left
        return astray / (sums.hit[:, 0] + astray + self.smooth)


class FocalTverskyLoss(TverskyLoss):
    r"""Focal Tversky loss: classes that are badly segmented weigh more.

    .. math:: L = \frac{1}{M} \sum_j (1 - T_j)^{1/γ}

    Args:
        alpha: α, see `TverskyLoss`, as beta, batch_dice and smooth.
        beta: β.
        gamma: γ.
        batch_dice: see `SumsLoss`.
        smooth: ε.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as `TverskyLoss`; a gamma that is not positive.

    Source: Abraham & Khan 2018, arXiv 1810.07842. For γ > 1 the slope at 1 - T = 0 is infinite; below 10⁻⁶ a line to 0 takes
    its place, so that value and gradient stay defined.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 4 / 3,
        *,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(alpha, beta, batch_dice=batch_dice, smooth=smooth, **common)
        check_number("gamma", gamma, above=0)
        self.gamma = gamma

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """(1 - Tversky index)^(1/γ)."""
        complement, least = self._complement(sums), 1e-6
        power = 1 / self.gamma
        line = complement * least ** (power - 1)
        return {"focal_tversky": torch.where(complement > least, complement.clamp_min(least).pow(power), line).mean()}
