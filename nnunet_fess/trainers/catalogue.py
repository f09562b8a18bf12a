"""What a trainer's name may say: the loss terms and the options, each declared once. Pure data, no torch.

A loss is a *spatial* term and, optionally, a *feature* term; a trainer is named after both, and every pair exists because it
is composed (`LOSSES`), never because somebody wrote it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

PREFIX = "nnUNetTrainer"


@dataclass(frozen=True)
class Option:
    """One suffix of a trainer's name.

    Attributes:
        key: the setting's name in `TrainerName.options`.
        form: the suffix as the user writes it; ``X`` stands for a number, ``N`` for a whole number, neither for a switch.
        default: the value without the suffix; None where nnU-Net's own applies.
        help: one line for `nnunet_fess trainers`.
        accepts: what values are allowed, as a test and in words.
        excludes: keys of options that say the same thing another way.
    """

    key: str
    form: str
    default: float | int | bool | None
    help: str
    accepts: tuple[Callable[[float], bool], str] = (lambda _: True, "anything")
    excludes: frozenset[str] = frozenset()

    @property
    def kind(self) -> Literal["number", "whole number", "switch"]:
        """What stands in the suffix."""
        return "number" if "X" in self.form else "whole number" if "N" in self.form.replace("noDS", "") else "switch"


_POSITIVE = (lambda value: value > 0, "more than 0")
_NOT_NEGATIVE = (lambda value: value >= 0, "0 or more")
_COUNT = (lambda value: value >= 1, "1 or more")

# The order here is the one canonical order of suffixes in a name.
OPTIONS: tuple[Option, ...] = (
    Option(
        "lambda",
        "lambdaX",
        0.5,
        "λ: share of the spatial term, a feature term gets the rest (SupCon: 0.99); without one, of the contour in SDL",
        (lambda value: 0 <= value <= 1, "0 to 1"),
    ),
    Option("contour", "contourX", 2.0, "extra weight of a contour voxel's cross entropy", _NOT_NEGATIVE),
    Option("mm", "Xmm", 6.0, "width of the contour in mm, on either side of a border", _POSITIVE, frozenset({"erosions"})),
    Option("erosions", "Nerosions", None, "width of the contour in voxels, in place of mm", _COUNT, frozenset({"mm"})),
    Option("adaptive", "adaptive", False, "narrower contour in small structures, so that they keep a core"),
    Option("temp", "tempX", 0.5, "temperature Δ of the feature term's softmax (InfoNCE, SupCon: 0.1)", _POSITIVE),
    Option("eta", "etaX", 1e-5, "factor η of FESS's contrastive term", _POSITIVE, frozenset({"etalr"})),
    Option("etalr", "etalr", False, "η is the optimizer's present learning rate", excludes=frozenset({"eta"})),
    Option("queue", "queueN", 256, "embeddings of earlier batches that are remembered", _COUNT),
    Option("level", "levelN", 1, "encoder stage that is contrasted: 1 is the bottleneck, 2 the stage before it", _COUNT),
    Option("epochs", "Nepochs", None, "number of epochs (nnU-Net: 1000)", _COUNT),
    Option("iters", "Niters", None, "training iterations per epoch (nnU-Net: 250)", _COUNT),
    Option("valiters", "Nvaliters", None, "validation iterations per epoch (nnU-Net: 50)", _COUNT),
    Option(
        "seed",
        "seedN",
        None,
        "seeds weights, batches and augmentation (nnU-Net: unseeded)",
        (lambda value: 0 <= value < 2**32, "0 to 4294967295"),
    ),
    Option("bf16", "bf16", False, "train in bfloat16 on a CPU that has it (nnU-Net: float32 on a CPU)"),
    Option("noDS", "noDS", False, "no deep supervision"),
    Option("noMirroring", "noMirroring", False, "no mirroring, neither in augmentation nor at prediction"),
)
_EVERYWHERE = frozenset({"epochs", "iters", "valiters", "seed", "bf16", "noDS", "noMirroring"})


@dataclass(frozen=True)
class Term:
    """A loss term as the catalogue knows it; `nnunet_fess.trainers.terms` builds it.

    Attributes:
        name: as in a trainer's name.
        summary: one line.
        options: keys of the options it understands.
        defaults: where they differ from the options' own.
    """

    name: str
    summary: str
    options: frozenset[str] = field(default_factory=frozenset)
    defaults: Mapping[str, float | int] = field(default_factory=dict)


_WIDTH = frozenset({"mm", "erosions", "adaptive"})
SPATIAL: dict[str, Term] = {
    term.name: term
    for term in (
        Term("DiceCE", "nnU-Net's own loss, Dice + cross entropy: the baseline"),
        Term("Dice", "soft Dice alone"),
        Term("CE", "cross entropy alone"),
        Term("CWCE", "contour-weighted cross entropy", _WIDTH | {"contour"}),
        Term("SDL", "separable Dice: contour and remainder apart", _WIDTH | {"lambda"}),
        Term("CWCD", "contour-weighted: separable Dice + contour-weighted cross entropy", _WIDTH | {"contour", "lambda"}),
        Term("GDL", "generalised Dice, classes weighted by 1 / volume²"),
        Term("DWCE", "cross entropy weighted by the distance to the two nearest structures (U-Net paper)"),
    )
}
FEATURE: dict[str, Term] = {
    term.name: term
    for term in (
        Term(
            "FESS",
            "contrastive term between this batch's and the previous batch's bottleneck",
            frozenset({"lambda", "temp", "eta", "etalr"}),
        ),
        Term(
            "SimCLR",
            "NT-Xent between two intensity-augmented views of each patch",
            frozenset({"lambda", "temp"}),
        ),
        Term(
            "InfoNCE",
            "the same two views, negatives from a queue of earlier batches",
            frozenset({"lambda", "temp", "queue"}),
            {"temp": 0.1},
        ),
        Term(
            "SupCon",
            "class-pooled features against a class-labelled queue of earlier batches",
            frozenset({"lambda", "temp", "queue", "level"}),
            {"lambda": 0.99, "temp": 0.1},
        ),
    )
}
# The paper's FESS is Dice + feature term, hence a feature name alone means "with Dice".
_IMPLIED_SPATIAL = "Dice"


@dataclass(frozen=True)
class Loss:
    """A spatial term with or without a feature term, and what follows from the pair."""

    spatial: Term
    feature: Term | None

    @property
    def trainer(self) -> str:
        """The trainer's name without options."""
        if self.feature is None:
            return PREFIX + self.spatial.name
        return PREFIX + self.feature.name + ("" if self.spatial.name == _IMPLIED_SPATIAL else self.spatial.name)

    @property
    def summary(self) -> str:
        """One line for lists."""
        if self.feature is None:
            return self.spatial.summary
        return f"λ·({self.spatial.summary}) + (1 - λ)·({self.feature.summary})"

    @property
    def options(self) -> tuple[Option, ...]:
        """The options of this loss with its defaults, in canonical order."""
        keys = _EVERYWHERE
        defaults: dict[str, float | int] = {}
        for term in (self.spatial, self.feature):
            if term is not None:
                keys, defaults = keys | term.options, {**defaults, **term.defaults}
        return tuple(
            replace(option, default=defaults.get(option.key, option.default)) for option in OPTIONS if option.key in keys
        )


LOSSES: dict[str, Loss] = {
    loss.trainer: loss
    for loss in [
        *(Loss(spatial, None) for spatial in SPATIAL.values()),
        *(Loss(spatial, feature) for feature in FEATURE.values() for spatial in SPATIAL.values()),
    ]
}
