"""What a trainer's name may say: terms and options, each declared once. Pure data, no torch.

A trainer is named after up to three terms, ``nnUNetTrainer`` + feature + map + region, and every combination exists because it
is composed (`Catalogue.losses`), never because somebody wrote it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from nnunet_fess.plugin import FeatureTerm, MapTerm, Option, RegionTerm, Settings, Term, Value, above, at_least, between

PREFIX = "nnUNetTrainer"

# Two options share a name: with a feature term λ is its share against the spatial loss, without one SDL's of the contour.
LAMBDA = Option(
    "lambda",
    "lambdaX",
    0.5,
    "λ: share of the spatial loss, the feature term gets the rest",
    accepts=between(0, 1),
    remarks=(
        (0, "λ = 0: the spatial loss counts nothing, and no other part of the loss teaches the network to segment."),
        (1, "λ = 1: the feature term counts nothing. The spatial loss alone is a trainer, too, and a faster one."),
    ),
)
CONTOUR_SHARE = Option(
    "lambda",
    "lambdaX",
    0.5,
    "λ: share of the contour in separable Dice",
    accepts=between(0, 1),
    remarks=(
        (0, "λ = 0: what lies on the contour counts nothing in separable Dice."),
        (1, "λ = 1: what lies off the contour counts nothing in separable Dice."),
    ),
)
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

ALPHA = Option(
    "alpha",
    "alphaX",
    0.5,
    "α: share of the region's loss, the map's gets the rest",
    accepts=between(0, 1),
    excludes=frozenset({"equal", "gradual", "linear", "step", "cosine", "balanced"}),
)


def _schedule(key: str, text: str) -> Option:
    others = {"alpha", "equal", "gradual", "linear", "step", "cosine", "balanced"} - {key}
    return Option(key, key, False, text, "switch", excludes=frozenset(others))


SCHEDULES = (
    _schedule("equal", "region and map both weigh 1"),
    _schedule("gradual", "α falls from 1 by 1/epochs each epoch, not below 0.01 (region-wise paper)"),
    _schedule("linear", "α falls from 1 in the first epoch to 0 in the last"),
    _schedule("step", "α is 1, ¾, ½, ¼, 0, each for a fifth of the epochs"),
    _schedule("cosine", "α falls from 1 to 0 along half a cosine (GSL paper)"),
    _schedule("balanced", "α makes both means of the epoch before equal (Hausdorff paper)"),
)
CAP = Option("cap", "capX", None, "mm; what is further from a border counts as if it were that far", accepts=above(0))

# The order here is the one canonical order of suffixes in a name; options of other packages' terms come before those that
# every trainer has. A new option takes any place: it moves no other.
OPTIONS: tuple[Option, ...] = (
    LAMBDA,
    CONTOUR_SHARE,
    ALPHA,
    *SCHEDULES,
    CAP,
    CONTOUR,
    MM,
    EROSIONS,
    ADAPTIVE,
    TEMP,
    ETA,
    ETALR,
    QUEUE,
    LEVEL,
    Option("epochs", "Nepochs", None, "number of epochs (nnU-Net: 1000)", "whole number", at_least(1), everywhere=True),
    Option(
        "iters",
        "Niters",
        None,
        "training iterations per epoch (nnU-Net: 250)",
        "whole number",
        at_least(1),
        everywhere=True,
    ),
    Option(
        "valiters",
        "Nvaliters",
        None,
        "validation iterations per epoch (nnU-Net: 50)",
        "whole number",
        at_least(1),
        everywhere=True,
    ),
    Option(
        "saveevery",
        "saveeveryN",
        None,
        "epochs between two checkpoints to continue from (nnU-Net: 50)",
        "whole number",
        at_least(1),
        everywhere=True,
    ),
    Option(
        "seed",
        "seedN",
        None,
        "seeds weights, batches and augmentation (nnU-Net: unseeded)",
        "whole number",
        between(0, 2**32 - 1),
        everywhere=True,
    ),
    Option(
        "bf16",
        "bf16",
        False,
        "train in bfloat16 on a CPU that has it (nnU-Net: float32 on a CPU)",
        "switch",
        everywhere=True,
    ),
    Option("noDS", "noDS", False, "no deep supervision", "switch", everywhere=True),
    Option(
        "noMirroring",
        "noMirroring",
        False,
        "no mirroring, neither in augmentation nor at prediction",
        "switch",
        everywhere=True,
    ),
)
# What a combination brings along, whatever its terms: every feature term is weighed against the spatial loss by λ, and a map
# with a region is blended with it by α.
OF_FEATURES: tuple[Option, ...] = (LAMBDA,)
OF_BLENDS: tuple[Option, ...] = (ALPHA, *SCHEDULES)

_TERMS = "nnunet_fess.trainers.terms"
_WIDTH = (MM, EROSIONS, ADAPTIVE)
_T = TypeVar("_T", bound=Term)


def _by_name(*terms: _T) -> dict[str, _T]:
    return {term.name: term for term in terms}


REGION: dict[str, RegionTerm] = _by_name(
    RegionTerm("DiceCE", "nnU-Net's own loss, Dice + cross entropy: the baseline", f"{_TERMS}:dice_ce"),
    RegionTerm("Dice", "soft Dice alone", f"{_TERMS}:dice"),
    RegionTerm("CE", "cross entropy alone", f"{_TERMS}:cross_entropy"),
    RegionTerm("CWCE", "contour-weighted cross entropy", f"{_TERMS}:cwce", (CONTOUR, *_WIDTH)),
    RegionTerm("SDL", "separable Dice: contour and remainder apart", f"{_TERMS}:separable_dice", (CONTOUR_SHARE, *_WIDTH)),
    RegionTerm(
        "CWCD",
        "contour-weighted: separable Dice + contour-weighted cross entropy",
        f"{_TERMS}:cwcd",
        (CONTOUR_SHARE, CONTOUR, *_WIDTH),
    ),
    RegionTerm("GDL", "generalised Dice, classes weighted by 1 / volume²", f"{_TERMS}:generalized_dice"),
    RegionTerm(
        "DWCE",
        "cross entropy weighted by the distance to the two nearest structures (U-Net paper)",
        f"{_TERMS}:distance_weighted",
    ),
    RegionTerm("Focal", "focal loss, γ = 2", f"{_TERMS}:focal"),
    RegionTerm("WCE", "cross entropy, every class present with the same share", f"{_TERMS}:weighted_cross_entropy"),
    RegionTerm("TopK", "cross entropy of the hardest 10 % of the voxels", f"{_TERMS}:top_k"),
    RegionTerm("Tversky", "Tversky loss: what is missed weighs 0.7, what is too much 0.3", f"{_TERMS}:tversky"),
    RegionTerm("FocalTversky", "focal Tversky loss, γ = 4/3", f"{_TERMS}:focal_tversky"),
    RegionTerm("DiceTopK", "Dice + TopK", f"{_TERMS}:dice_top_k"),
    RegionTerm("DiceFocal", "Dice + focal", f"{_TERMS}:dice_focal"),
    RegionTerm("GDLFocal", "generalised Dice + focal", f"{_TERMS}:gdl_focal"),
)
MAP: dict[str, MapTerm] = _by_name(
    MapTerm("RRW", "rectified region-wise loss: probabilities times -d / max d inside of a class, 1 outside", f"{_TERMS}:rrw"),
    MapTerm("Boundary", "boundary loss: probabilities times signed distances", f"{_TERMS}:boundary", (CAP,)),
    MapTerm("ActiveContour", "region-wise loss with the map -1 inside of a class, 1 outside", f"{_TERMS}:active_contour"),
    MapTerm("GSL", "generalised surface loss: squared distances, classes weighted by 1 / volume²", f"{_TERMS}:gsl", (CAP,)),
    MapTerm("FuzzyRough", "squared errors, less of them right at a border", f"{_TERMS}:fuzzy_rough"),
    MapTerm("HausdorffDT", "squared errors times squared distances, of truth and prediction", f"{_TERMS}:hausdorff_dt", (CAP,)),
    MapTerm("HausdorffOS", "squared errors times squared distances of the truth", f"{_TERMS}:hausdorff_os", (CAP,)),
    MapTerm("HausdorffER", "squared errors by how many erosions they survive", f"{_TERMS}:hausdorff_er"),
    MapTerm("HausdorffCV", "squared errors by the balls that fit", f"{_TERMS}:hausdorff_cv"),
)
FEATURE: dict[str, FeatureTerm] = _by_name(
    FeatureTerm(
        "FESS",
        "contrastive term between this batch's and the previous batch's bottleneck",
        f"{_TERMS}:fess",
        (TEMP, ETA, ETALR),
    ),
    FeatureTerm("SimCLR", "NT-Xent between two intensity-augmented views of each patch", f"{_TERMS}:simclr", (TEMP,)),
    FeatureTerm(
        "InfoNCE",
        "the same two views, negatives from a queue of earlier batches",
        f"{_TERMS}:infonce",
        (TEMP, QUEUE),
        {"temp": 0.1},
    ),
    FeatureTerm(
        "SupCon",
        "class-pooled features against a class-labelled queue of earlier batches",
        f"{_TERMS}:supcon",
        (TEMP, QUEUE, LEVEL),
        {"lambda": 0.99, "temp": 0.1},
    ),
)
# The paper's FESS is Dice + feature term, hence a feature name alone means "with Dice".
_IMPLIED_REGION = "Dice"

# Their authors use them with a region loss only.
_UNSTABLE_ALONE = frozenset({"Boundary", "HausdorffDT", "HausdorffOS", "HausdorffER", "HausdorffCV"})

# What a term was called before → what it is called now. Names that hold the old word stay names of trainers for ever: results
# and checkpoints lie under them.
RENAMED: dict[str, str] = {}


@dataclass(frozen=True)
class Loss:
    """The terms of a trainer, one or two of the spatial ones and perhaps a feature term, and what follows from them."""

    region: RegionTerm | None = None
    map: MapTerm | None = None
    feature: FeatureTerm | None = None

    @property
    def terms(self) -> tuple[Term, ...]:
        """Its terms in the order of the name."""
        return tuple(term for term in (self.feature, self.map, self.region) if term is not None)

    @property
    def trainer(self) -> str:
        """The trainer's name without options."""
        words = [term.name for term in self.terms]
        implied = self.feature is not None and self.map is None and words[-1] == _IMPLIED_REGION
        return PREFIX + "".join(words[:-1] if implied else words)

    @property
    def summary(self) -> str:
        """One line for lists."""
        spatial = [term.summary for term in (self.region, self.map) if term is not None]
        summary = spatial[0] if len(spatial) == 1 else " and ".join(f"({part})" for part in spatial)
        return summary if self.feature is None else f"λ·({summary}) + (1 - λ)·({self.feature.summary})"

    @property
    def remarks(self) -> list[str]:
        """What a training with it should be told."""
        if self.map is not None and self.region is None and self.map.name in _UNSTABLE_ALONE:
            return [
                f"{self.map.name} alone is known not to converge on real data; its authors add a region loss "
                f"(arXiv 1812.07032, 1904.10030). Try {PREFIX}{self.map.name}DiceCE_gradual."
            ]
        return []

    @cached_property
    def options(self) -> tuple[Option, ...]:
        """The options with this loss's defaults, in canonical order: built-in ones, other packages', those of every trainer.

        Where two terms have options of one name, the first term's counts.
        """
        found: dict[str, Option] = {}
        words: set[str] = set()
        for term, options in self._declared():
            for option in options:
                if option.key not in found and option.word.lower() not in words:
                    found[option.key] = replace(option, default=term.default(option))
                    words.add(option.word.lower())
        return (
            *(found[ours.key] for ours in OPTIONS if ours.key in found and found[ours.key].says_the_same_as(ours)),
            *(option for option in found.values() if not any(option.says_the_same_as(ours) for ours in OPTIONS)),
            *(option for option in OPTIONS if option.everywhere),
        )

    def settings(self, given: Mapping[str, Value], term: Term | None = None) -> Settings:
        """What a name's options come to.

        Args:
            given: key → value of the options that the name spells out.
            term: one of this loss's, which gets its own options: another term's option of the same name is not meant for it.
                None: the trainer, which sees all.
        """
        ours = {option.key: option for option in self.options}
        if term is None:
            return Settings(self.trainer, self.options, {key: option.default for key, option in ours.items()} | dict(given))
        options = next(options for each, options in self._declared() if each is term)
        values = {
            option.key: given[option.key]
            if option.key in given and ours[option.key].says_the_same_as(option)
            else term.default(option)
            for option in options
        }
        return Settings(term.name, options, values)

    def _declared(self) -> Iterator[tuple[Term, tuple[Option, ...]]]:
        for term in self.terms:
            if term is self.feature:
                yield term, (*OF_FEATURES, *term.options)
            elif term is self.map and self.region is not None:
                yield term, (*OF_BLENDS, *term.options)
            else:
                yield term, term.options


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The terms that trainers can be made of.

    Attributes:
        regions: by name.
        maps: by name.
        features: by name.
    """

    regions: Mapping[str, RegionTerm] = field(default_factory=lambda: REGION)
    maps: Mapping[str, MapTerm] = field(default_factory=lambda: MAP)
    features: Mapping[str, FeatureTerm] = field(default_factory=lambda: FEATURE)

    def joined_by(self, term: Term) -> Catalogue:
        """This and one more term."""
        if isinstance(term, RegionTerm):
            return replace(self, regions={**self.regions, term.name: term})
        if isinstance(term, MapTerm):
            return replace(self, maps={**self.maps, term.name: term})
        assert isinstance(term, FeatureTerm)
        return replace(self, features={**self.features, term.name: term})

    def every_loss(self) -> list[Loss]:
        """Every combination: regions, maps and their pairs, then the same with each feature term."""
        spatial = [
            *(Loss(region) for region in self.regions.values()),
            *(Loss(None, map_) for map_ in self.maps.values()),
            *(Loss(region, map_) for map_ in self.maps.values() for region in self.regions.values()),
        ]
        with_feature = [replace(loss, feature=feature) for feature in self.features.values() for loss in spatial]
        return [*spatial, *with_feature]

    @cached_property
    def losses(self) -> dict[str, Loss]:
        """Every trainer by its name without options."""
        return {loss.trainer: loss for loss in self.every_loss()}

    @cached_property
    def renamed(self) -> dict[str, Loss]:
        """The trainers' former names."""
        found: dict[str, Loss] = {}
        for loss in self.losses.values():
            for former in _former(loss):
                found.setdefault(former.trainer, loss)
        return {name: loss for name, loss in found.items() if name not in self.losses}

    @property
    def terms(self) -> tuple[Term, ...]:
        """All of them: regions, maps, features."""
        return (*self.regions.values(), *self.maps.values(), *self.features.values())


BUILT_IN = Catalogue()
LOSSES: dict[str, Loss] = BUILT_IN.losses


def present_name(term: str) -> str:
    """What a term is called today that may have had another name when a checkpoint was made."""
    return RENAMED.get(term, term)


def _former(loss: Loss) -> Iterator[Loss]:
    """The loss under every combination of its terms' former names."""
    for feature in _names_before(loss.feature):
        for map_ in _names_before(loss.map):
            for region in _names_before(loss.region):
                yield Loss(region, map_, feature)


def _names_before(term: _T | None) -> list[_T | None]:
    if term is None:
        return [None]
    return [term, *(replace(term, name=before) for before, now in RENAMED.items() if now == term.name)]
