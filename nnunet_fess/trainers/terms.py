"""The builders that the catalogue names: every term of ours, for one nnU-Net dataset and configuration."""

from __future__ import annotations

from typing import Any

from torch import nn

from nnunet_fess.errors import UserError
from nnunet_fess.losses import (
    ContourWeightedCrossEntropyLoss,
    CrossEntropyLoss,
    CWCDLoss,
    DiceCELoss,
    DiceFocalLoss,
    DiceLoss,
    DiceTopKLoss,
    DistanceWeightedCrossEntropyLoss,
    FocalLoss,
    FocalTverskyLoss,
    FuzzyRoughLoss,
    GDLFocalLoss,
    GDLoss,
    GeneralizedSurfaceLoss,
    HausdorffCVLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    RegionWiseLoss,
    SeparableDiceLoss,
    TopKLoss,
    TverskyLoss,
    WeightedCrossEntropyLoss,
)
from nnunet_fess.losses.feature.class_means import MOST_REGIONS
from nnunet_fess.plugin import FeatureHost, Host, Settings
from nnunet_fess.trainers.blend import Blend
from nnunet_fess.trainers.catalogue import REGION
from nnunet_fess.trainers.errors import TrainingRefused
from nnunet_fess.trainers.features import FeatureTerm, FESSFeature, SupConFeature, TwoViewsFeature
from nnunet_fess.trainers.naming import TrainerName
from nnunet_fess.trainers.schedules import RegionAndMap


def spatial_loss(name: TrainerName, host: Host) -> nn.Module:
    """The loss of the network's output at one scale: that of the region, of the map, or both blended."""
    region, map_ = (
        None if term is None else term.make(name.settings_of(term), host) for term in (name.loss.region, name.loss.map)
    )
    if region is None or map_ is None:
        (alone,) = (made for made in (region, map_) if made is not None)
        return alone
    assert name.loss.map is not None
    # nnU-Net's own loss ends at -1, since its Dice is negative.
    floor = -1.0 if host.own_loss is not None and name.loss.region is REGION["DiceCE"] else 0.0
    return Blend({"region": region, "map": map_}, RegionAndMap(name.settings_of(name.loss.map), host, floor))


def feature_loss(name: TrainerName, host: FeatureHost) -> FeatureTerm:
    """The loss of the encoder's features, of a trainer that has one."""
    (term,) = (term for term in name.loss.terms if term is name.loss.feature)
    made = term.make(name.settings_of(term), host)
    if not isinstance(made, FeatureTerm):
        raise UserError(
            f"the feature term {term.name} must be built as a nnunet_fess.trainers.features.FeatureTerm. "
            f"Got: {type(made).__name__}"
        )
    return made


# Regions


def dice_ce(settings: Settings, host: Host) -> nn.Module:
    """nnU-Net's own loss, untouched; without nnU-Net around it (a preview, a test) ours, which differs by 1."""
    return DiceCELoss(**host.dice) if host.own_loss is None else host.own_loss()


def dice(settings: Settings, host: Host) -> nn.Module:
    """Soft Dice."""
    return DiceLoss(**host.dice)


def cross_entropy(settings: Settings, host: Host) -> nn.Module:
    """Cross entropy."""
    return CrossEntropyLoss(**host.common)


def cwce(settings: Settings, host: Host) -> nn.Module:
    """Contour-weighted cross entropy."""
    weight = settings.number("contour")
    return ContourWeightedCrossEntropyLoss(contour_weight=weight, **_contour(settings, host), **host.common)


def separable_dice(settings: Settings, host: Host) -> nn.Module:
    """Separable Dice."""
    return SeparableDiceLoss(contour_fraction=settings.number("lambda"), **_contour(settings, host), **host.dice)


def cwcd(settings: Settings, host: Host) -> nn.Module:
    """The contour-weighted loss."""
    return CWCDLoss(
        contour_weight=settings.number("contour"),
        contour_fraction=settings.number("lambda"),
        **_contour(settings, host),
        **host.dice,
    )


def generalized_dice(settings: Settings, host: Host) -> nn.Module:
    """Generalised Dice."""
    return GDLoss(**host.dice)


def distance_weighted(settings: Settings, host: Host) -> nn.Module:
    """Distance-weighted cross entropy."""
    return DistanceWeightedCrossEntropyLoss(**host.grid, **host.common)


def _contour(settings: Settings, host: Host) -> dict[str, Any]:
    in_voxels = settings.has("erosions")
    width = {"iterations": settings.whole("erosions")} if in_voxels else {"thickness_mm": settings.number("mm"), **host.grid}
    return {**width, "adaptive": settings.switch("adaptive")}


def focal(settings: Settings, host: Host) -> nn.Module:
    """Focal loss."""
    return FocalLoss(**host.common)


def weighted_cross_entropy(settings: Settings, host: Host) -> nn.Module:
    """Class-weighted cross entropy."""
    return WeightedCrossEntropyLoss(**host.common)


def top_k(settings: Settings, host: Host) -> nn.Module:
    """Cross entropy of the hardest voxels."""
    return TopKLoss(**host.common)


def tversky(settings: Settings, host: Host) -> nn.Module:
    """Tversky loss."""
    return TverskyLoss(**host.dice)


def focal_tversky(settings: Settings, host: Host) -> nn.Module:
    """Focal Tversky loss."""
    return FocalTverskyLoss(**host.dice)


def dice_top_k(settings: Settings, host: Host) -> nn.Module:
    """Dice and TopK."""
    return DiceTopKLoss(**host.dice)


def dice_focal(settings: Settings, host: Host) -> nn.Module:
    """Dice and focal loss."""
    return DiceFocalLoss(**host.dice)


def gdl_focal(settings: Settings, host: Host) -> nn.Module:
    """Generalised Dice and focal loss."""
    return GDLFocalLoss(**host.dice)


# Maps


def rrw(settings: Settings, host: Host) -> nn.Module:
    """Rectified region-wise loss."""
    return RegionWiseLoss("rrw", **host.grid, **host.common)


def boundary(settings: Settings, host: Host) -> nn.Module:
    """Boundary loss."""
    return RegionWiseLoss("boundary", cap=_cap(settings), **host.grid, **host.common)


def active_contour(settings: Settings, host: Host) -> nn.Module:
    """Region-wise loss with the active-contour map."""
    return RegionWiseLoss("active_contour", **host.grid, **host.common)


def gsl(settings: Settings, host: Host) -> nn.Module:
    """Generalised surface loss."""
    return GeneralizedSurfaceLoss(cap=_cap(settings), **host.grid, **host.dice)


def fuzzy_rough(settings: Settings, host: Host) -> nn.Module:
    """Fuzzy-rough boundary loss."""
    return FuzzyRoughLoss(**host.grid, **host.common)


def hausdorff_dt(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by distance transforms."""
    return HausdorffDTLoss(cap=_cap(settings), **host.grid, **host.common)


def hausdorff_os(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by the distance transform of the truth."""
    return HausdorffDTLoss(one_sided=True, cap=_cap(settings), **host.grid, **host.common)


def hausdorff_er(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by erosion."""
    return HausdorffERLoss(stretch=True, **host.common)


def hausdorff_cv(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by convolutions."""
    return HausdorffCVLoss(**host.grid, **host.common)


def _cap(settings: Settings) -> float | None:
    return settings.number("cap") if settings.has("cap") else None


# Features


def fess(settings: Settings, host: FeatureHost) -> nn.Module:
    """FESS's contrastive term."""
    eta = settings.number("eta")
    return FESSFeature(settings.number("temp"), host.learning_rate if settings.switch("etalr") else lambda: eta)


def simclr(settings: Settings, host: FeatureHost) -> nn.Module:
    """NT-Xent between two views of the batch."""
    return TwoViewsFeature(host.stages[-1], host.image_channels, settings.number("temp"))


def infonce(settings: Settings, host: FeatureHost) -> nn.Module:
    """NT-Xent against a queue."""
    return TwoViewsFeature(host.stages[-1], host.image_channels, settings.number("temp"), settings.whole("queue"))


def supcon(settings: Settings, host: FeatureHost) -> nn.Module:
    """Supervised contrast of classes against a queue.

    Raises:
        TrainingRefused: the encoder has no such stage, or there are more regions than can be told apart.
    """
    level, stages = settings.whole("level"), host.stages
    if level > len(stages):
        raise TrainingRefused(
            f"level{level} does not exist, the network's encoder has {len(stages)} stages. "
            f"Use level1 (bottleneck) to level{len(stages)} (full resolution)."
        )
    if host.has_regions and len(host.classes) > MOST_REGIONS:
        raise TrainingRefused(
            f"SupCon takes at most {MOST_REGIONS} regions, the dataset has {len(host.classes)}. Use labels instead of "
            "regions, or another feature term."
        )
    return SupConFeature(stages[-level], level, settings.number("temp"), settings.whole("queue"), host.ignore_label)
