"""Builds the loss terms that the catalogue names, for one nnU-Net dataset and configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from nnunet_fess.losses import (
    ContourWeightedCrossEntropyLoss,
    CrossEntropyLoss,
    CWCDLoss,
    DiceLoss,
    DistanceWeightedCrossEntropyLoss,
    GDLoss,
    SeparableDiceLoss,
)
from nnunet_fess.trainers.composed_loss import FESSFeature
from nnunet_fess.trainers.naming import TrainerName


@dataclass(frozen=True)
class Host:
    """What nnU-Net knows and a loss has to: the names of `nnunet_fess.losses`' keyword arguments.

    Attributes:
        batch_dice: sum Dice over the batch instead of averaging samples (nnU-Net's plans decide).
        ignore_label: label whose voxels do not count; None without one, and with regions, which carry a mask instead.
        distributed: sum over all DDP ranks.
        spacing: mm per axis of the configuration.
        patch_size: voxels per axis of the patch that has this spacing; deep supervision's scales follow from it.
    """

    batch_dice: bool
    ignore_label: int | None
    distributed: bool
    spacing: Sequence[float]
    patch_size: Sequence[int]

    @property
    def common(self) -> dict[str, Any]:
        """What every loss takes."""
        return {"ignore_label": self.ignore_label, "distributed": self.distributed}

    @property
    def dice(self) -> dict[str, Any]:
        """What a loss with a Dice ratio takes."""
        return {**self.common, "batch_dice": self.batch_dice}

    @property
    def grid(self) -> dict[str, Any]:
        """What a loss that measures in mm takes."""
        return {"spacing": self.spacing, "patch_size": self.patch_size}


def _contour(name: TrainerName, host: Host) -> dict[str, Any]:
    width = {"iterations": name["erosions"]} if name["erosions"] else {"thickness_mm": name["mm"], **host.grid}
    return {**width, "adaptive": name["adaptive"]}


def _contour_fraction(name: TrainerName) -> dict[str, Any]:
    """SDL's λ, which the name gives unless there is a feature term: then its λ is FESS's, and SDL keeps the paper's half."""
    return {} if name.loss.feature else {"contour_fraction": name["lambda"]}


# DiceCE is not here: it is nnU-Net's own loss, and nnU-Net builds it.
SPATIAL_TERMS: dict[str, Callable[[TrainerName, Host], nn.Module]] = {
    "Dice": lambda name, host: DiceLoss(**host.dice),
    "CE": lambda name, host: CrossEntropyLoss(**host.common),
    "CWCE": lambda name, host: ContourWeightedCrossEntropyLoss(
        contour_weight=float(name["contour"] or 0), **_contour(name, host), **host.common
    ),
    "SDL": lambda name, host: SeparableDiceLoss(**_contour_fraction(name), **_contour(name, host), **host.dice),
    "CWCD": lambda name, host: CWCDLoss(
        contour_weight=float(name["contour"] or 0), **_contour_fraction(name), **_contour(name, host), **host.dice
    ),
    "GDL": lambda name, host: GDLoss(**host.dice),
    "DWCE": lambda name, host: DistanceWeightedCrossEntropyLoss(**host.grid, **host.common),
}
FEATURE_TERMS: dict[str, Callable[[TrainerName], nn.Module]] = {
    "FESS": lambda name: FESSFeature(temperature=float(name["temp"] or 0), learning_rate=float(name["eta"] or 0)),
}
