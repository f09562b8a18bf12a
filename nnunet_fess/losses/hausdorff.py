"""The Hausdorff loss by distance transforms: squared errors times squared distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.distance_loss import DistanceLoss, DistanceOptions
from nnunet_fess.losses.target import Target
from nnunet_fess.losses.voxel_loss import Voxels

if TYPE_CHECKING:
    from typing_extensions import Unpack


class HausdorffDTLoss(DistanceLoss):
    r"""Hausdorff distance loss, by distance transforms (DT), or one-sided (OS).

    .. math:: L = \frac{1}{N C} \sum_{ij} (p_{ij} - g_{ij})^2 (d_{G}^α + d_{\bar P}^α)

    with d_G the distance to the border of the truth's class and d_P̄ that to the border of the prediction p > 0.5, which carries
    no gradient; one-sided without the latter. Over voxels and classes, background included (for regions: over channels).
    Distances are divided by the unit of `DistanceLoss`, of which a class without border, absent or everywhere, has 1: its
    errors still count.

    Args:
        power: α.
        one_sided: the truth's distance alone (OS), which saves the transform of the prediction.
        options: those of `DistanceLoss` and of `SpatialLoss`.

    Raises:
        ValueError: as `DistanceLoss`; a power below 0.

    Source: Karimi & Salcudean 2019, arXiv 1904.10030, equations of L_DT and L_OS; there with Dice, and of the foreground.
    """

    def __init__(self, power: float = 2.0, one_sided: bool = False, **options: Unpack[DistanceOptions]) -> None:
        super().__init__(**options)
        check_number("power", power, least=0)
        self.power = power
        self.one_sided = one_sided

    def maps(self, target: Target) -> dict[str, Tensor]:
        """d_G in mm."""
        return {"distance": self.signed(target).abs_()}

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean of (p - g)²·(distances)^α."""
        unit = self.unit(voxels.target)
        field = (maps["distance"] / unit).pow(self.power)
        if not self.one_sided:
            predicted = predicted_target(voxels)
            with torch.no_grad():
                distance = self.maps(predicted)["distance"][:, : field.shape[1]]
                field = field + (distance / unit).pow(self.power)
        name = "hausdorff_os" if self.one_sided else "hausdorff_dt"
        return {name: voxels.mean(voxels.error.square() * field.to(voxels.logits.dtype))}


class HausdorffOSLoss(HausdorffDTLoss):
    """One-sided Hausdorff distance loss: `HausdorffDTLoss` with the truth's distance alone.

    Args:
        power: α.
        options: those of `DistanceLoss` and of `SpatialLoss`.

    Raises:
        ValueError: as `HausdorffDTLoss`.

    Source: Karimi & Salcudean 2019, arXiv 1904.10030, equation of L_OS.
    """

    def __init__(self, power: float = 2.0, **options: Unpack[DistanceOptions]) -> None:
        super().__init__(power, True, **options)


def predicted_target(voxels: Voxels) -> Target:
    """Where p > 0.5, as a target of its own; voxels of a label map that belong to no class have one more label, the last."""
    target, probability = voxels.target, voxels.probability.detach()
    if not target.is_label_map:
        return Target(probability > 0.5, target.valid, is_label_map=False, num_classes=target.num_classes)
    largest, label = probability.max(1, keepdim=True)
    label = torch.where(largest > 0.5, label, target.num_classes)
    return Target(label, target.valid, is_label_map=True, num_classes=target.num_classes + 1)
