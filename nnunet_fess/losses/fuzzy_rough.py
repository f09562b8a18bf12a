"""The fuzzy-rough boundary loss: squared errors, less of them right at the border."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.distance_loss import DistanceLoss, DistanceOptions
from nnunet_fess.losses.hausdorff import predicted_target
from nnunet_fess.losses.target import Target
from nnunet_fess.losses.voxel_loss import Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class FuzzyRoughLoss(DistanceLoss):
    r"""Fuzzy-rough boundary loss.

    .. math:: L = \frac{\sum_{ij} (p_{ij} - g_{ij})^2 f_{ij}}{\#\{f_{ij} ≠ 0\}}, \quad f = 1 - \exp(-d_G^2 / α)

    with d_G the distance to the border of the truth's class, over voxels and classes, background included (for regions: over
    channels). A class without border in the patch, absent or everywhere, contributes a field of 0. f lies between 0 and 1:
    nothing is to be scaled.

    Args:
        alpha: α in mm². At α = 1 mm² all voxels beyond 2 mm count alike.
        prediction_field: add the field of the present prediction (p > 0.5), without gradient: the paper's second form.
        options: those of `DistanceLoss` and of `SpatialLoss`.

    Raises:
        ValueError: as `DistanceLoss`; an alpha that is not positive.

    Source: Lin et al. 2024. "Non-zero entries" is read as those of the field, which the prediction does not change.
    """

    def __init__(self, alpha: float = 1.0, prediction_field: bool = False, **options: Unpack[DistanceOptions]) -> None:
        super().__init__(**options)
        check_number("alpha", alpha, above=0)
        self.alpha = alpha
        self.prediction_field = prediction_field

    def maps(self, target: Target) -> dict[str, Tensor]:
        """The field f."""
        field = 1 - torch.exp(-self.signed(target).square() / self.alpha)
        inside = target.one_hot if target.valid is None else target.one_hot & target.valid
        outside = ~target.one_hot if target.valid is None else ~target.one_hot & target.valid
        bordered = inside.flatten(2).any(2) & outside.flatten(2).any(2)
        return {"field": field * bordered.view(*bordered.shape, *[1] * (field.ndim - 2))}

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Σ (p - g)²·f / its number of summands."""
        field = maps["field"].to(voxels.logits.dtype)
        if self.prediction_field:
            predicted = predicted_target(voxels)
            with torch.no_grad():
                field = field + self.maps(predicted)["field"][:, : field.shape[1]]
        share = voxels.mean((field != 0).to(field.dtype))
        # The divisor first: where the field is 0 everywhere so is the sum
        return {"fuzzy_rough": voxels.mean(voxels.error.square() * field) / torch.where(share > 0, share, 1)}
