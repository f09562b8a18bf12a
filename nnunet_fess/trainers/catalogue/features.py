"""The feature terms: losses of the encoder's features. A builder imports its module when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_fess.plugin import FeatureHost, FeatureTerm, Option, Settings, above, at_least
from nnunet_fess.trainers.errors import NotSupported, TrainingRefused

if TYPE_CHECKING:
    from torch import nn

    from nnunet_fess.losses.target import TargetKind

TEMP = Option("temp", "tempX", 0.5, "temperature Δ of the feature term's softmax", accepts=above(0))
ETA = Option("eta", "etaX", 1e-5, "factor η of FESS's contrastive term", accepts=above(0), excludes=frozenset({"etalr"}))
ETALR = Option("etalr", "etalr", False, "η is the optimizer's present learning rate", "switch", excludes=frozenset({"eta"}))
QUEUE = Option("queue", "queueN", 256, "embeddings of earlier batches that are remembered", "whole number", at_least(1))
LEVEL = Option(
    "level",
    "levelN",
    1,
    "encoder stage that is contrasted: 1 is the bottleneck, 2 the stage before it",
    "whole number",
    at_least(1),
)
# In the order in which a name gives them; a new one takes any place, it moves no other.
OPTIONS: tuple[Option, ...] = (TEMP, ETA, ETALR, QUEUE, LEVEL)


def fess(settings: Settings, host: FeatureHost) -> nn.Module:
    """FESS's contrastive term."""
    from nnunet_fess.trainers.features.fess import FESSFeature

    eta = settings.number("eta")
    return FESSFeature(settings.number("temp"), host.learning_rate if settings.switch("etalr") else lambda: eta)


def simclr(settings: Settings, host: FeatureHost) -> nn.Module:
    """NT-Xent between two views of the batch."""
    from nnunet_fess.trainers.features.two_views import TwoViewsFeature

    return TwoViewsFeature(host.stages[-1], host.image_channels, settings.number("temp"))


def infonce(settings: Settings, host: FeatureHost) -> nn.Module:
    """NT-Xent against a queue."""
    from nnunet_fess.trainers.features.two_views import TwoViewsFeature

    return TwoViewsFeature(host.stages[-1], host.image_channels, settings.number("temp"), settings.whole("queue"))


def supcon(settings: Settings, host: FeatureHost) -> nn.Module:
    """Supervised contrast of classes against a queue.

    Raises:
        TrainingRefused: the encoder has no such stage.
        NotSupported: there are more regions than can be told apart.
    """
    from nnunet_fess.losses.feature.class_means import MOST_REGIONS
    from nnunet_fess.trainers.features.sup_con import SupConFeature

    level, stages = settings.whole("level"), host.stages
    if level > len(stages):
        raise TrainingRefused(
            f"level{level} does not exist, the network's encoder has {len(stages)} stages. "
            f"Use level1 (bottleneck) to level{len(stages)} (full resolution)."
        )
    if host.has_regions and len(host.classes) > MOST_REGIONS:
        raise NotSupported(
            f"SupCon takes at most {MOST_REGIONS} regions, the dataset has {len(host.classes)}. Use labels instead of "
            "regions, or another feature term."
        )
    kind: TargetKind = "regions" if host.has_regions else "labels"
    return SupConFeature(stages[-level], level, settings.number("temp"), settings.whole("queue"), host.ignore_label, kind)


TERMS = (
    FeatureTerm("FESS", "contrastive term between this batch's and the previous batch's bottleneck", fess, (TEMP, ETA, ETALR)),
    FeatureTerm("SimCLR", "NT-Xent between two intensity-augmented views of each patch", simclr, (TEMP,)),
    FeatureTerm(
        "InfoNCE", "the same two views, negatives from a queue of earlier batches", infonce, (TEMP, QUEUE), {"temp": 0.1}
    ),
    FeatureTerm(
        "SupCon",
        "class-pooled features against a class-labelled queue of earlier batches",
        supcon,
        (TEMP, QUEUE, LEVEL),
        {"lambda": 0.99, "temp": 0.1},
    ),
)
