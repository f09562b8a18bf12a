"""The feature terms: losses of the encoder's or the decoder's features. A builder imports its module when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_fess.plugin import Accepts, FeatureHost, FeatureTerm, Option, Settings, above, at_least, between
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
# What is compared grows with voxels times voxels and queue.
_MOST_VOXELS = 4096
VOXELS = Option(
    "voxels",
    "voxelsN",
    256,
    "the decoder's voxels of a batch that are contrasted, as many of each class",
    "whole number",
    between(2, _MOST_VOXELS),
)
MOMENTUM = Option(
    "momentum",
    "momentumX",
    0.99,
    "share that a class's prototype keeps in each step",
    accepts=Accepts(lambda value: 0 <= value < 1, "0 or more and less than 1"),
)
# In the order in which a name gives them; a new one takes any place, it moves no other.
OPTIONS: tuple[Option, ...] = (TEMP, ETA, ETALR, QUEUE, LEVEL, VOXELS, MOMENTUM)


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
    from nnunet_fess.trainers.features.sup_con import SupConFeature

    level, stages = settings.whole("level"), host.stages
    if level > len(stages):
        raise TrainingRefused(
            f"level{level} does not exist, the network's encoder has {len(stages)} stages. "
            f"Use level1 (bottleneck) to level{len(stages)} (full resolution)."
        )
    kind = _kind(settings, host)
    return SupConFeature(stages[-level], level, settings.number("temp"), settings.whole("queue"), host.ignore_label, kind)


def pixelcon(settings: Settings, host: FeatureHost) -> nn.Module:
    """Supervised contrast of the decoder's voxels against a queue.

    Raises:
        TrainingRefused: the queue is longer than can be compared in a step.
        NotSupported: there are more regions than can be told apart, or no decoder to read.
    """
    from nnunet_fess.trainers.features.pixel_con import PixelConFeature

    queue = settings.whole("queue")
    if queue > _MOST_VOXELS:
        raise TrainingRefused(
            f"queue{queue} is too long for PixelCon, which compares every voxel of a step with every one of the queue. "
            f"Use queue{_MOST_VOXELS} or less."
        )
    kind = _kind(settings, host)
    return PixelConFeature(
        host.decoder_channels(), settings.whole("voxels"), settings.number("temp"), queue, host.ignore_label, kind
    )


def prototypes(settings: Settings, host: FeatureHost) -> nn.Module:
    """Cross entropy of the decoder's voxels over class prototypes with a momentum.

    Raises:
        NotSupported: there are more regions than can be told apart, or no decoder to read.
    """
    from nnunet_fess.trainers.features.prototypes import PrototypesFeature

    kind = _kind(settings, host)
    return PrototypesFeature(
        host.decoder_channels(),
        2 ** len(host.classes) if kind == "regions" else len(host.classes),
        settings.whole("voxels"),
        settings.number("temp"),
        settings.number("momentum"),
        host.ignore_label,
        kind,
    )


def _kind(settings: Settings, host: FeatureHost) -> TargetKind:
    """Of the target of a term that tells classes apart.

    Raises:
        NotSupported: there are more regions than can be told apart.
    """
    from nnunet_fess.losses.feature.class_means import MOST_REGIONS

    if host.has_regions and len(host.classes) > MOST_REGIONS:
        raise NotSupported(
            f"{settings.owner} takes at most {MOST_REGIONS} regions, the dataset has {len(host.classes)}. Use labels instead "
            "of regions, or another feature term."
        )
    return "regions" if host.has_regions else "labels"


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
    FeatureTerm(
        "PixelCon",
        "the decoder's voxels, half at borders or wrong, against a queue of earlier ones, other cases' first",
        pixelcon,
        (TEMP, QUEUE, VOXELS),
        {"lambda": 0.9, "temp": 0.1, "queue": 512},
    ),
    FeatureTerm(
        "Prototypes",
        "the same voxels against one vector per class that moves with a momentum",
        prototypes,
        (TEMP, VOXELS, MOMENTUM),
        {"lambda": 0.9, "temp": 0.1},
    ),
)
