"""Dice of the contour and of the rest, each for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.contour_loss import ContourLoss, ContourLossOptions
from nnunet_fess.losses.dice import one_minus_dice
from nnunet_fess.losses.maps.contour import Contour
from nnunet_fess.losses.sums import ClassSums

if TYPE_CHECKING:
    from typing_extensions import Unpack


def separable_dice(sums: ClassSums, contour_fraction: float, smooth: float) -> dict[str, Tensor]:
    """λ·L_c and (1 - λ)·L_nc of sums that were divided by the contour."""
    (hit_rest, hit_contour), (missed_rest, missed_contour) = sums.hit.unbind(1), sums.missed.unbind(1)
    # A class's own contour lies inside the class: nothing can be predicted there that is false.
    on_contour = one_minus_dice(hit_contour, missed_contour, torch.zeros_like(sums.false), smooth)
    on_rest = one_minus_dice(hit_rest, missed_rest, sums.false, smooth)
    return {"sdl_contour": contour_fraction * on_contour, "sdl_rest": (1 - contour_fraction) * on_rest}


def check_contour_fraction(contour_fraction: float) -> None:
    """Raise ValueError unless in 0 … 1."""
    check_number("contour_fraction", contour_fraction, least=0, most=1)


class SeparableDiceLoss(ContourLoss):
    r"""Separable Dice loss (SDL).

    .. math:: L = λ L_c + (1 - λ) L_{nc}, \quad
        L_x = \frac{1}{M} \sum_j 1 - \frac{2 \sum_i p_{ij} g_{ij} + ε}{\sum_i p_{ij} + \sum_i g_{ij} + ε}

    L_c sums over the contour voxels of class j (those that erosion takes from it), L_nc over all other voxels; M
    foreground classes or regions. The contour part of an absent class is 0, its other part 1 - ε / (Σ p + ε).

    Args:
        contour_fraction: λ.
        contour: which voxels are contour; None: 6 voxels on either side of a border. Its convention is the loss's:
            "paper": as above. "released": L_c + L_nc, each one ratio of the sums over all classes and samples (λ and
            batch_dice have no effect), and array borders are contour.
        batch_dice: see `SumsLoss`.
        smooth: ε; None: 1e-5, in the released convention 1e-3.
        options: the arguments of `SpatialLoss`, and those of `Contour` in place of one: `iterations=3`.

    Raises:
        ValueError: ill shapes or labels, a contour_fraction outside 0 … 1, a smooth below 1e-6, a contour and options for
            one.

    Source: arXiv 2407.06176, equation of SDL.
    """

    entropy = False

    def __init__(
        self,
        contour_fraction: float = 0.5,
        contour: Contour | None = None,
        *,
        batch_dice: bool = False,
        smooth: float | None = None,
        **options: Unpack[ContourLossOptions],
    ) -> None:
        super().__init__(contour, options, batch_dice=batch_dice, smooth=smooth)
        check_contour_fraction(contour_fraction)
        self.contour_fraction = contour_fraction

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """λ·L_c and (1 - λ)·L_nc."""
        return separable_dice(sums, self.contour_fraction, self.smooth)

    def released_formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """L_c and L_nc, each pooled."""
        return released.separable_dice(sums, self.smooth)
