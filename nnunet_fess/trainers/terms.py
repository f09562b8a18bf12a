"""The terms of a trainer's name, built: one loss of the network's output, and one of the encoder's features."""

from __future__ import annotations

from torch import nn

from nnunet_fess.errors import UserError
from nnunet_fess.losses.spatial import SpatialLoss
from nnunet_fess.losses.target import TargetKind
from nnunet_fess.plugin import FeatureHost, Host
from nnunet_fess.trainers.blend import Blend
from nnunet_fess.trainers.catalogue import REGION
from nnunet_fess.trainers.features import FeatureLoss
from nnunet_fess.trainers.naming import TrainerName
from nnunet_fess.trainers.schedules import RegionAndMap


def spatial_loss(name: TrainerName, host: Host) -> nn.Module:
    """The loss of the network's output at one scale: that of the region, of the map, or both blended."""
    region, map_ = (
        None if term is None else _told(term.make(name.settings_of(term), host), host)
        for term in (name.loss.region, name.loss.map)
    )
    if region is None or map_ is None:
        (alone,) = (made for made in (region, map_) if made is not None)
        return alone
    assert name.loss.map is not None
    # nnU-Net's own loss ends at -1, since its Dice is negative.
    floor = -1.0 if host.own_loss is not None and name.loss.region is REGION["DiceCE"] else 0.0
    return Blend({"region": region, "map": map_}, RegionAndMap(name.settings_of(name.loss.map), host, floor))


def _told(made: nn.Module, host: Host) -> nn.Module:
    """The loss, which knows what nnU-Net knows: a patch that lies in one region everywhere must not pass for one-hot labels."""
    for module in made.modules():
        if isinstance(module, SpatialLoss) and module.target_kind == "auto":
            module.target_kind = _target_kind(host)
    return made


def _target_kind(host: Host) -> TargetKind:
    return "regions" if host.has_regions else "labels"


def feature_loss(name: TrainerName, host: FeatureHost) -> FeatureLoss:
    """The loss of the encoder's features, of a trainer that has one."""
    (term,) = (term for term in name.loss.terms if term is name.loss.feature)
    made = term.make(name.settings_of(term), host)
    if not isinstance(made, FeatureLoss):
        raise UserError(
            f"the feature term {term.name} must be built as a nnunet_fess.trainers.features.FeatureLoss. "
            f"Got: {type(made).__name__}"
        )
    return made
