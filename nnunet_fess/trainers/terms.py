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
from nnunet_fess.losses.class_means import MOST_REGIONS
from nnunet_fess.trainers.errors import TrainingRefused
from nnunet_fess.trainers.features import FeatureTerm, FESSFeature, SupConFeature, TwoViewsFeature
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


@dataclass(frozen=True)
class FeatureHost:
    """What nnU-Net knows and a feature term has to.

    Attributes:
        channels: of the encoder's stages, the bottleneck last.
        image_channels: input channels that are images, as opposed to a cascade's labels.
        regions: how many there are; 0 with labels.
        ignore_label: as in `Host`.
        learning_rate: the optimizer's, at the time of the call.
    """

    channels: Sequence[int]
    image_channels: int
    regions: int
    ignore_label: int | None
    learning_rate: Callable[[], float]


def _fess(name: TrainerName, host: FeatureHost) -> FeatureTerm:
    eta = float(name["eta"] or 0)
    return FESSFeature(float(name["temp"] or 0), host.learning_rate if name["etalr"] else lambda: eta)


def _two_views(name: TrainerName, host: FeatureHost, queue: int | None = None) -> FeatureTerm:
    return TwoViewsFeature(host.channels[-1], host.image_channels, float(name["temp"] or 0), queue)


def _sup_con(name: TrainerName, host: FeatureHost) -> FeatureTerm:
    level = int(name["level"] or 0)
    if level > len(host.channels):
        raise TrainingRefused(
            f"{name.name}: level{level} does not exist, the network's encoder has {len(host.channels)} stages. "
            f"Use level1 (bottleneck) to level{len(host.channels)} (full resolution)."
        )
    if host.regions > MOST_REGIONS:
        raise TrainingRefused(
            f"{name.name}: SupCon takes at most {MOST_REGIONS} regions, the dataset has {host.regions}. Use labels instead of "
            "regions, or another feature term."
        )
    return SupConFeature(host.channels[-level], level, float(name["temp"] or 0), int(name["queue"] or 0), host.ignore_label)


FEATURE_TERMS: dict[str, Callable[[TrainerName, FeatureHost], FeatureTerm]] = {
    "FESS": _fess,
    "SimCLR": _two_views,
    "InfoNCE": lambda name, host: _two_views(name, host, int(name["queue"] or 0)),
    "SupCon": _sup_con,
}
