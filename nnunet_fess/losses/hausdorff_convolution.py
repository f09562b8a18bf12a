"""The Hausdorff loss by convolutions: errors weighed by the radii of the balls that fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_number, check_numbers
from nnunet_fess.losses.distance_loss import DistanceLoss, DistanceOptions
from nnunet_fess.losses.voxel_loss import Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class HausdorffCVLoss(DistanceLoss):
    r"""Hausdorff distance loss by convolutions with balls (CV).

    .. math:: L = \frac{1}{N C} \sum_{ij} \sum_r \frac{r^α}{\sum_r r^α} (p - g)^2 \left[
        s(B_r * g^C)\, p + s(B_r * g)\, g + s(B_r * p^C)\, g + s(B_r * p)\, p \right]

    with B_r the normalised disc or ball of radius r, g^C = 1 - g, and s(x) = max(x - 0.5, 0) the paper's soft threshold at
    0.5. Over voxels and classes, background included. B_r averages over the part of the ball that lies in the patch and is
    not ignored.
    The divisor makes the loss at most 2, whatever the radii.

    Args:
        power: α.
        radii: r, in mm if a spacing is given, else in voxels.
        options: those of `DistanceLoss` (a cap has no use here) and of `SpatialLoss`.

    Raises:
        ValueError: as `DistanceLoss`; a negative power, no radii or one that is not positive.

    Source: Karimi & Salcudean 2019, arXiv 1904.10030, equation of L_CV, as it is commonly quoted: there the truth is called p,
    the prediction q, and the radii are 3 to 18 voxels.
    """

    def __init__(
        self, power: float = 2.0, radii: Sequence[float] = (3, 6, 9, 12, 15, 18), **options: Unpack[DistanceOptions]
    ) -> None:
        super().__init__(**options)
        check_number("power", power, least=0)
        self.power = power
        self.radii = check_numbers("radii", radii, above=0)

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Σ r^α (errors where balls fit)."""
        target, truth, p = voxels.target, voxels.truth, voxels.probability
        valid = torch.ones_like(truth[:, :1]) if target.valid is None else target.valid.to(p.dtype)
        spacing = self.spacing_of(target) or [1.0] * (truth.ndim - 2)
        shape = truth.shape[2:]
        largest = max(self.radii)
        sizes = [n + min(n - 1, int(largest / step)) for n, step in zip(shape, spacing, strict=True)]
        axes = tuple(range(2, truth.ndim))
        # Each of them transformed once for all radii.
        spectra = [torch.fft.rfftn(x.contiguous(), sizes, axes) for x in (valid, truth * valid, p * valid)]
        total = torch.zeros_like(p)
        for radius in self.radii:
            ball = torch.fft.rfftn(_ball(radius, spacing, sizes, valid), sizes, axes)
            window = (slice(None), slice(None), *(slice(n) for n in shape))
            seen, of_truth, of_p = (torch.fft.irfftn(x * ball, sizes, axes)[window] for x in spectra)
            seen = seen.clamp_min(0.5)  # a number of voxels, up to rounding
            of_truth, of_p = of_truth / seen, of_p / seen
            weighed = truth * (_soft(of_truth) + _soft(1 - of_p)) + p * (_soft(1 - of_truth) + _soft(of_p))
            total = total + radius**self.power * weighed
        total = total / sum(radius**self.power for radius in self.radii)
        return {"hausdorff_cv": voxels.mean(voxels.error.square() * total)}


def _soft(values: Tensor) -> Tensor:
    return (values - 0.5).clamp_min(0)


def _ball(radius: float, spacing: Sequence[float], sizes: Sequence[int], like: Tensor) -> Tensor:
    """1 in the ball around the origin of a periodic grid of these sizes: (1, 1, *sizes)."""
    squared = torch.zeros([1] * len(sizes), device=like.device, dtype=like.dtype)
    for axis, (size, step) in enumerate(zip(sizes, spacing, strict=True)):
        place = torch.arange(size, device=like.device)
        offset = torch.minimum(place, size - place).to(like.dtype) * step
        squared = squared + offset.square().view([-1 if other == axis else 1 for other in range(len(sizes))])
    return (squared <= radius * radius * (1 + 1e-6)).to(like.dtype)[None, None]
