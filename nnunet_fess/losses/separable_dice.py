"""Dice of the contour and of the rest, each for itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from nnunet_fess.losses.contour import Contour
from nnunet_fess.losses.dice import one_minus_dice
from nnunet_fess.losses.spatial import SpatialLoss
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.target import Convention


def separable_dice(sums: ClassSums, contour_fraction: float, smooth: float, convention: Convention) -> dict[str, Tensor]:
    """λ·L_c and (1 - λ)·L_nc of sums that were divided by the contour; released: L_c and L_nc, each pooled."""
    pooled = convention == "released"
    (hit_rest, hit_contour), (actual_rest, actual_contour) = sums.hit.unbind(1), sums.actual.unbind(1)
    # A class's own contour lies inside the class, so that what is predicted there is what is hit there.
    on_contour = one_minus_dice(hit_contour, hit_contour, actual_contour, smooth, pooled)
    on_rest = one_minus_dice(hit_rest, sums.predicted - hit_contour, actual_rest, smooth, pooled)
    if not pooled:
        on_contour, on_rest = contour_fraction * on_contour, (1 - contour_fraction) * on_rest
    return {"sdl_contour": on_contour, "sdl_rest": on_rest}


def default_smooth(smooth: float | None, convention: Convention) -> float:
    """The smooth that was asked for, else the convention's own."""
    if smooth is not None:
        return smooth
    return 1e-3 if convention == "released" else 1e-5


def check_contour_fraction(contour_fraction: float) -> None:
    """Raise ValueError unless in 0 … 1."""
    if not 0 <= contour_fraction <= 1:
        raise ValueError(f"contour_fraction must be between 0 and 1. Got: {contour_fraction}")


class SeparableDiceLoss(SpatialLoss):
    r"""Separable Dice loss (SDL).

    .. math:: L = λ L_c + (1 - λ) L_{nc}, \quad
        L_x = \frac{1}{M} \sum_j 1 - \frac{2 \sum_i p_{ij} g_{ij} + ε}{\sum_i p_{ij} + \sum_i g_{ij} + ε}

    L_c sums over the contour voxels of class j (those that erosion takes from it), L_nc over all other voxels; M
    foreground classes or regions. The contour part of an absent class is 0, its other part 1 - ε / (Σ p + ε).

    Args:
        contour_fraction: λ.
        iterations: width of the contour in voxels; this and the next options are described at `contour_map`.
        convention: "paper": as above. "released": L_c + L_nc, each one ratio of the sums over all classes and samples
            (λ and batch_dice have no effect), and array borders are contour.
        thickness_mm: width of the contour in mm instead.
        spacing: mm per axis, with `thickness_mm`.
        patch_size: spatial shape of the grid with that spacing, so that the spacing of the coarser targets of deep
            supervision is known. None: every target has that spacing.
        adaptive: narrow contours in small structures.
        batch_dice: see `SpatialLoss`.
        smooth: ε; None: 1e-5, in the released convention 1e-3.
        ignore_label: see `SpatialLoss`.
        distributed: see `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels, an unknown convention, a contour_fraction outside 0 … 1, a contour of no width,
            a smooth below 1e-6.

    Source: arXiv 2407.06176, equation of SDL.
    """

    contour: Contour

    def __init__(
        self,
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
        check_contour_fraction(contour_fraction)
        self.contour_fraction = contour_fraction
        self.contour = Contour(
            iterations,
            convention,
            thickness_mm=thickness_mm,
            spacing=spacing,
            patch_size=patch_size,
            adaptive=adaptive,
        )

    def terms(self, sums: ClassSums) -> dict[str, Tensor]:
        """λ·L_c and (1 - λ)·L_nc."""
        return separable_dice(sums, self.contour_fraction, self.smooth, self.contour.convention)
