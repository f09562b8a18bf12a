"""The one list of what is to work: every term × kind of labels × configuration × network × deep supervision."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from nnunet_fess.testing.tiny_trainer import LABELS
from nnunet_fess.trainers.catalogue import FEATURE, MAP, REGION, Loss

# A cascade is two trainings, of 3d_lowres and of 3d_cascade_fullres.
CONFIGURATIONS = ("2d", "3d_fullres", "3d_cascade_fullres")
NETWORKS = ("UNet", "ResEnc")
LENGTH = "_1epochs_2iters_1valiters"


@dataclass(frozen=True)
class Setting:
    """Everything but the loss."""

    labels: str
    configuration: str
    network: str
    deep_supervision: bool

    def __str__(self) -> str:
        return f"{self.labels}, {self.configuration}, {self.network}, {'DS' if self.deep_supervision else 'noDS'}"


@dataclass(frozen=True)
class Cell:
    """One training, or the two of a cascade: up to three terms in a setting."""

    region: str | None
    map: str | None
    feature: str | None
    setting: Setting

    @property
    def terms(self) -> list[str]:
        return [term for term in (self.region, self.map, self.feature) if term is not None]

    @property
    def trainer(self) -> str:
        loss = Loss(
            None if self.region is None else REGION[self.region],
            None if self.map is None else MAP[self.map],
            None if self.feature is None else FEATURE[self.feature],
        )
        return f"{loss.trainer}{LENGTH}{'' if self.setting.deep_supervision else '_noDS'}"

    @property
    def pairs(self) -> set[frozenset[str]]:
        """What meets here: every term with every property of the setting, and these with each other."""
        s = self.setting
        places = [s.labels, s.configuration, s.network, f"deep supervision {s.deep_supervision}"]
        alone = ["map alone"] if self.region is None else []
        with_terms = itertools.product([*self.terms, *alone], places)
        return {frozenset(pair) for pair in (*with_terms, *itertools.combinations(places, 2))}

    def __str__(self) -> str:
        return f"{' + '.join(self.terms)}, {self.setting}"


def settings() -> list[Setting]:
    return [Setting(*each) for each in itertools.product(LABELS, CONFIGURATIONS, NETWORKS, (True, False))]


def every_cell() -> list[Cell]:
    """In every setting every term: as many trainings as there are regions, and one of a map alone.

    Which map and which feature term a region goes with is another one in each setting, so that the combinations take turns too.
    """
    maps, features = [None, *MAP], [None, *FEATURE]
    found = []
    for number, setting in enumerate(settings()):
        found += [
            Cell(region, maps[(row + number) % len(maps)], features[(row + 2 * number) % len(features)], setting)
            for row, region in enumerate(REGION)
        ]
        found.append(Cell(None, [*MAP][number % len(MAP)], features[number % len(features)], setting))
    return found


def covering() -> list[Cell]:
    """Few cells that hold every pair of every other cell at least once; greedily chosen, always the same."""
    cells = every_cell()
    missing = set().union(*(cell.pairs for cell in cells))
    chosen = []
    while missing:
        best = max(cells, key=lambda cell: len(cell.pairs & missing))
        chosen.append(best)
        missing -= best.pairs
    return chosen
