"""The runs that a study's file means: every trainer, plans, seed, fold, size and draw, each with a name of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnunet_fess.study.config import StudyFile
from nnunet_fess.study.trainers import Trainer


@dataclass(frozen=True)
class Subset:
    """A training set: of which fold, how many of its cases, which draw."""

    fold: int
    size: int | Literal["all"]
    repeat: int


@dataclass(frozen=True)
class Job:
    """A run as the file means it, before anything is known of its dataset.

    Attributes:
        dataset: as in the file.
        plans: their name.
        trainer: resolved.
        seed: None for trainers that have none.
        subset: what it trains on.
        id: name of the run and of its folder.
    """

    dataset: int | str
    plans: str
    trainer: Trainer
    seed: int | None
    subset: Subset
    id: str

    @property
    def trainer_name(self) -> str:
        """What nnU-Net is given."""
        return self.trainer.name(self.seed)


def subsets(file: StudyFile, dataset: int | str) -> Iterator[Subset]:
    """The training sets of one dataset; the whole fold has no draws."""
    study = file.study
    for fold in study.folds:
        for size in study.sizes_of(dataset):
            for repeat in range(1 if size == "all" else study.repeats):
                yield Subset(fold, size, repeat)


def jobs(file: StudyFile) -> list[Job]:
    """All runs of the file.

    The trainers alternate fastest: a study that is stopped half way has compared something.
    """
    study = file.study
    found = []
    for dataset in study.datasets:
        for number, seed in enumerate(study.seeds):
            for subset in subsets(file, dataset):
                for plans, trainer in itertools.product(study.all_plans, file.trainers):
                    if not trainer.ours and number > 0:
                        continue
                    own = seed if trainer.ours else None
                    name = name_of(file, dataset, plans, trainer.label, f"seed{own}" if own is not None else "", subset)
                    found.append(Job(dataset, plans, trainer, own, subset, name))
    return found


def name_of(file: StudyFile, dataset: int | str, plans: str, label: str, seed: str, subset: Subset) -> str:
    """What a run is called; dataset and plans only where there are several."""
    parts = [_word(dataset)] if len(file.study.datasets) > 1 else []
    parts += [label, plans] if len(file.study.all_plans) > 1 else [label]
    parts += [seed] if seed else []
    parts += [f"fold{subset.fold}", str(subset.size)]
    parts += [f"draw{subset.repeat}"] if subset.repeat else []
    return "-".join(parts)


def _word(dataset: int | str) -> str:
    return f"Dataset{dataset:03d}" if isinstance(dataset, int) else Path(dataset).name
