"""The region terms: losses of the network's output. A builder imports its loss when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_fess.plugin import Host, Option, RegionTerm, Settings, above, at_least
from nnunet_fess.trainers.catalogue.options import CONTOUR_SHARE

if TYPE_CHECKING:
    from torch import nn

CONTOUR = Option("contour", "contourX", 2.0, "extra weight of a contour voxel's cross entropy", accepts=at_least(0))
MM = Option(
    "mm",
    "Xmm",
    6.0,
    "width of the contour in mm, on either side of a border",
    accepts=above(0),
    excludes=frozenset({"erosions"}),
)
EROSIONS = Option(
    "erosions",
    "Nerosions",
    None,
    "width of the contour in voxels, in place of mm",
    "whole number",
    at_least(1),
    frozenset({"mm"}),
)
ADAPTIVE = Option("adaptive", "adaptive", False, "narrower contour in small structures, so that they keep a core", "switch")
# In the order in which a name gives them; a new one takes any place, it moves no other.
OPTIONS: tuple[Option, ...] = (CONTOUR, MM, EROSIONS, ADAPTIVE)
_WIDTH = (MM, EROSIONS, ADAPTIVE)


def dice_ce(settings: Settings, host: Host) -> nn.Module:
    """nnU-Net's own loss, untouched; without nnU-Net around it (a preview, a test) ours, which differs by 1."""
    from nnunet_fess.losses.dice_ce import DiceCELoss

    return DiceCELoss(**host.dice) if host.own_loss is None else host.own_loss()


def dice(settings: Settings, host: Host) -> nn.Module:
    """Soft Dice."""
    from nnunet_fess.losses.dice import DiceLoss

    return DiceLoss(**host.dice)


def cross_entropy(settings: Settings, host: Host) -> nn.Module:
    """Cross entropy."""
    from nnunet_fess.losses.cross_entropy import CrossEntropyLoss

    return CrossEntropyLoss(**host.common)


def cwce(settings: Settings, host: Host) -> nn.Module:
    """Contour-weighted cross entropy."""
    from nnunet_fess.losses.contour_weighted import ContourWeightedCrossEntropyLoss

    weight = settings.number("contour")
    return ContourWeightedCrossEntropyLoss(contour_weight=weight, **_contour(settings, host), **host.common)


def separable_dice(settings: Settings, host: Host) -> nn.Module:
    """Separable Dice."""
    from nnunet_fess.losses.separable_dice import SeparableDiceLoss

    return SeparableDiceLoss(contour_fraction=settings.number("lambda"), **_contour(settings, host), **host.dice)


def cwcd(settings: Settings, host: Host) -> nn.Module:
    """The contour-weighted loss."""
    from nnunet_fess.losses.cwcd import CWCDLoss

    return CWCDLoss(
        contour_weight=settings.number("contour"),
        contour_fraction=settings.number("lambda"),
        **_contour(settings, host),
        **host.dice,
    )


def dice_cwce(settings: Settings, host: Host) -> nn.Module:
    """Dice and contour-weighted cross entropy."""
    from nnunet_fess.losses.dice_cwce import DiceCWCELoss

    return DiceCWCELoss(contour_weight=settings.number("contour"), **_contour(settings, host), **host.dice)


def generalized_dice(settings: Settings, host: Host) -> nn.Module:
    """Generalised Dice."""
    from nnunet_fess.losses.generalized_dice import GDLoss

    return GDLoss(**host.dice)


def distance_weighted(settings: Settings, host: Host) -> nn.Module:
    """Distance-weighted cross entropy."""
    from nnunet_fess.losses.distance_weighted import DistanceWeightedCrossEntropyLoss

    return DistanceWeightedCrossEntropyLoss(**host.grid, **host.common)


def focal(settings: Settings, host: Host) -> nn.Module:
    """Focal loss."""
    from nnunet_fess.losses.focal import FocalLoss

    return FocalLoss(**host.common)


def weighted_cross_entropy(settings: Settings, host: Host) -> nn.Module:
    """Class-weighted cross entropy."""
    from nnunet_fess.losses.weighted_cross_entropy import WeightedCrossEntropyLoss

    return WeightedCrossEntropyLoss(**host.common)


def top_k(settings: Settings, host: Host) -> nn.Module:
    """Cross entropy of the hardest voxels."""
    from nnunet_fess.losses.top_k import TopKLoss

    return TopKLoss(**host.common)


def tversky(settings: Settings, host: Host) -> nn.Module:
    """Tversky loss."""
    from nnunet_fess.losses.tversky import TverskyLoss

    return TverskyLoss(**host.dice)


def focal_tversky(settings: Settings, host: Host) -> nn.Module:
    """Focal Tversky loss."""
    from nnunet_fess.losses.tversky import FocalTverskyLoss

    return FocalTverskyLoss(**host.dice)


def dice_top_k(settings: Settings, host: Host) -> nn.Module:
    """Dice and TopK."""
    from nnunet_fess.losses.loss_sum import DiceTopKLoss

    return DiceTopKLoss(**host.dice)


def dice_focal(settings: Settings, host: Host) -> nn.Module:
    """Dice and focal loss."""
    from nnunet_fess.losses.loss_sum import DiceFocalLoss

    return DiceFocalLoss(**host.dice)


def gdl_focal(settings: Settings, host: Host) -> nn.Module:
    """Generalised Dice and focal loss."""
    from nnunet_fess.losses.loss_sum import GDLFocalLoss

    return GDLFocalLoss(**host.dice)


def cc_dice(settings: Settings, host: Host) -> nn.Module:
    """Component-balanced Dice and cross entropy."""
    from nnunet_fess.losses.cc_dice import CCDiceLoss

    return CCDiceLoss(**host.grid, **host.dice)


def _contour(settings: Settings, host: Host) -> dict[str, Any]:
    in_voxels = settings.has("erosions")
    width = {"iterations": settings.whole("erosions")} if in_voxels else {"thickness_mm": settings.number("mm"), **host.grid}
    return {**width, "adaptive": settings.switch("adaptive")}


TERMS = (
    RegionTerm("DiceCE", "nnU-Net's own loss, Dice + cross entropy: the baseline", dice_ce),
    RegionTerm("Dice", "soft Dice alone", dice),
    RegionTerm("CE", "cross entropy alone", cross_entropy),
    RegionTerm("CWCE", "contour-weighted cross entropy", cwce, (CONTOUR, *_WIDTH)),
    RegionTerm("SDL", "separable Dice: contour and remainder apart", separable_dice, (CONTOUR_SHARE, *_WIDTH)),
    RegionTerm(
        "CWCD", "contour-weighted: separable Dice + contour-weighted cross entropy", cwcd, (CONTOUR_SHARE, CONTOUR, *_WIDTH)
    ),
    RegionTerm("GDL", "generalised Dice, classes weighted by 1 / volume²", generalized_dice),
    RegionTerm("DWCE", "cross entropy weighted by the distance to the two nearest structures (U-Net paper)", distance_weighted),
    RegionTerm("Focal", "focal loss, γ = 2", focal),
    RegionTerm("WCE", "cross entropy, every class present with the same share", weighted_cross_entropy),
    RegionTerm("TopK", "cross entropy of the hardest 10 % of the voxels", top_k),
    RegionTerm("Tversky", "Tversky loss: what is missed weighs 0.7, what is too much 0.3", tversky),
    RegionTerm("FocalTversky", "focal Tversky loss, γ = 4/3", focal_tversky),
    RegionTerm("DiceTopK", "Dice + TopK", dice_top_k),
    RegionTerm("DiceFocal", "Dice + focal", dice_focal),
    RegionTerm("GDLFocal", "generalised Dice + focal", gdl_focal),
    RegionTerm("CCDice", "half Dice + cross entropy, half the same with every connected component counting alike", cc_dice),
    RegionTerm("DiceCWCE", "Dice + contour-weighted cross entropy", dice_cwce, (CONTOUR, *_WIDTH)),
)
