"""What a trainer's name may say: terms and options, each declared once. No torch is imported before a loss is built.

The terms lie in `regions`, `maps` and `features`, each file like one of somebody else's losses: builders, and the `TERMS` that
name them. Options of a term lie beside it, all others in `options`.

A trainer is named after up to three terms, ``nnUNetTrainer`` + feature + map + region, and every combination exists because it
is composed (`Catalogue.losses`), never because somebody wrote it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

from nnunet_fess.plugin import FeatureTerm, MapTerm, Option, RegionTerm, Settings, Term, Value
from nnunet_fess.trainers.catalogue import features, maps, regions
from nnunet_fess.trainers.catalogue.options import EVERYWHERE, OF_BLENDS, OF_FEATURES, SHARES

PREFIX = "nnUNetTrainer"

# The one canonical order of suffixes in a name; options of other packages' terms come before those that every trainer has.
OPTIONS: tuple[Option, ...] = (*SHARES, *maps.OPTIONS, *regions.OPTIONS, *features.OPTIONS, *EVERYWHERE)

_T = TypeVar("_T", bound=Term)


def _by_name(terms: Iterable[_T]) -> dict[str, _T]:
    return {term.name: term for term in terms}


REGION: dict[str, RegionTerm] = _by_name(regions.TERMS)
MAP: dict[str, MapTerm] = _by_name(maps.TERMS)
FEATURE: dict[str, FeatureTerm] = _by_name(features.TERMS)

# The paper's FESS is Dice + feature term, hence a feature name alone means "with Dice".
_IMPLIED_REGION = "Dice"

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
        if self.map is not None and self.region is None and self.map.name in maps.UNSTABLE_ALONE:
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
