"""The Hausdorff loss by erosion: how long an error survives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.spatial import Common
from nnunet_fess.losses.voxel_loss import VoxelLoss, Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class HausdorffERLoss(VoxelLoss):
    r"""Hausdorff distance loss by morphological erosion (ER).

    .. math:: L = \frac{1}{N C} \sum_{ij} \frac{1}{S} \left( b E_0 + \sum_{k=1}^{K} k^α E_k \right), \quad
        E_0 = (p - g)^2, \quad E_k = \max(B * E_{k-1} - 0.5, 0)

    with B the cross of 2·dim + 1 equal weights that sum to 1; over voxels and classes, background included. Outside of the
    patch errors go on as at its border. S is the largest value that the bracket can have, so that the loss is at most 1.

    Two things are to be known of the equation. The paper's sum has no E_0 (b = 0): an error below 0.5 or thinner than B then
    has no gradient, and of more than two classes an untrained network (p = 1/C) has none at all. Hence b = 1. And since E_1
    is at most 0.5, E_2 and all further are 0: taken at its word it counts one erosion, whatever K. `stretch` takes
    max(2 B * E - 1, 0) instead, which leaves 1 where all is wrong: errors survive as many erosions as they are thick.

    Args:
        power: α.
        erosions: K, in voxels.
        base: b, weight of the error itself.
        stretch: see above; the trainers have it on.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as `SpatialLoss`; a negative power or base, no erosion.

    Source: Karimi & Salcudean 2019, arXiv 1904.10030, equation of L_ER, as it is commonly quoted; a widespread copy rescales
    each E_k to its maximum, which is not the paper's.
    """

    def __init__(
        self, power: float = 2.0, erosions: int = 10, base: float = 1.0, stretch: bool = False, **common: Unpack[Common]
    ) -> None:
        super().__init__(**common)
        check_number("power", power, least=0)
        check_number("base", base, least=0)
        check_number("erosions", erosions, least=1, whole=True)
        self.power = power
        self.erosions = erosions
        self.base = base
        self.stretch = stretch

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Σ k^α E_k."""
        eroded = voxels.error.square()
        if voxels.target.valid is not None:
            eroded = eroded.masked_fill(~voxels.target.valid, 0)
        total, most, factor = self.base * eroded, self.base, 2 if self.stretch else 1
        for k in range(1, self.erosions + 1):
            eroded = (factor * (_cross_mean(eroded) - 0.5)).clamp_min(0)
            total = total + k**self.power * eroded
            most += k**self.power * (1 if self.stretch else 0.5 if k == 1 else 0)
        return {"hausdorff_er": voxels.mean(total / most)}


def _cross_mean(values: Tensor) -> Tensor:
    """Mean of every voxel and its 2·dim neighbours, the border repeated."""
    total = values
    for axis in range(2, values.ndim):
        length = values.shape[axis]
        first, last = values.narrow(axis, 0, 1), values.narrow(axis, length - 1, 1)
        total = total + torch.cat((first, values.narrow(axis, 0, length - 1)), axis)
        total = total + torch.cat((values.narrow(axis, 1, length - 1), last), axis)
    return total / (2 * (values.ndim - 2) + 1)
