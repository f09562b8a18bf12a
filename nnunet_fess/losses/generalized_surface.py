"""The generalised surface loss: a ratio of squared distances, as generalised Dice is one of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.distance_loss import DistanceLoss, DistanceOptions
from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.target import Target
from nnunet_fess.losses.voxel_loss import Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class GeneralizedSurfaceLoss(DistanceLoss):
    r"""Generalised surface loss (GSL), between 0 and 1.

    .. math:: L = 1 - \frac{\sum_k w_k \sum_i (D_{ik} (1 - (g_{ik} + p_{ik})))^2}{\sum_k w_k \sum_i D_{ik}^2}, \quad
        w_k = \frac{1}{(\sum_i g_{ik})^2}

    with D the signed distance map, over the foreground classes of a label map, or over all regions, per sample unless
    batch_dice. Summed as w D² e (2 - e) with e = |p - g|, which is the same without the difference from 1. A ratio: its unit
    does not matter. A class without border in the patch, absent or everywhere, has no D and no w_k of its own: it takes the
    mean square of D of the classes that have one, and the largest w_k, so that what is predicted of an absent class counts
    like an error of another.

    Args:
        balance: False sets w_k = 1, as MIST does.
        batch_dice: sum over the batch, and over ranks if distributed, before the ratio is taken.
        options: those of `DistanceLoss` and of `SpatialLoss`.

    Raises:
        ValueError: as `DistanceLoss`.

    Source: Celaya et al. 2023, arXiv 2302.03868.
    """

    def __init__(self, balance: bool = True, *, batch_dice: bool = False, **options: Unpack[DistanceOptions]) -> None:
        super().__init__(**options)
        self.balance = balance
        self.batch_dice = batch_dice

    def maps(self, target: Target) -> dict[str, Tensor]:
        """D in mm."""
        return {"distance": self.signed(target)}

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Σ w D² e (2 - e) / Σ w D²."""
        target, first = voxels.target, int(voxels.target.is_label_map)
        squared = (maps["distance"][:, first:].to(voxels.logits.dtype) / self.unit(target)).square()
        truth, error = voxels.truth[:, first:], voxels.error[:, first:]
        valid = torch.ones_like(truth[:, :1]) if target.valid is None else target.valid.to(truth.dtype)
        there, voxel_count = _total(truth * valid), _total(valid)
        bordered = (there > 0) & (there < voxel_count)
        # Of the classes with a border: the mean of D² over voxels and classes
        mean = (_total(squared * valid) * bordered).sum(1, keepdim=True)
        mean = mean / (voxel_count * bordered.sum(1, keepdim=True)).clamp_min(1)
        mean = torch.where(mean > 0, mean, 1)
        wide = (..., *[None] * (squared.ndim - 2))
        squared = torch.where(bordered[wide], squared, mean[wide]) * valid
        wrong, whole = _total(squared * error * (2 - error)), _total(squared)
        if self.batch_dice:
            wrong, whole, there, bordered = (x.sum(0, keepdim=True) for x in (wrong, whole, there, bordered))
            if self.distributed:
                both = torch.stack((wrong, whole, there, bordered.to(there.dtype)))
                wrong, whole, there, bordered = sum_over_ranks(both).unbind()
            bordered = bordered > 0
        weight = self._weight(there, bordered)
        wrong, whole = (weight * wrong).sum(1), (weight * whole).sum(1)
        return {"gsl": (wrong / torch.where(whole > 0, whole, 1)).mean()}

    def _weight(self, there: Tensor, bordered: Tensor) -> Tensor:
        """w, relative to the largest."""
        if not self.balance:
            return torch.ones_like(there)
        rarest = there.masked_fill(~bordered, float("inf")).amin(1, keepdim=True)
        return torch.where(bordered, rarest / there.clamp_min(1), 1).square()


def _total(values: Tensor) -> Tensor:
    return values.flatten(2).sum(2)
