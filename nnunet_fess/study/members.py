"""Which ensembles a study's file means, of which runs, and what these must keep for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from nnunet_fess.study.config import StudyFile
from nnunet_fess.study.jobs import Job, jobs, name_of

Weights = Literal["mean", "learned"]


@dataclass(frozen=True)
class Ensemble:
    """Several runs whose probabilities are averaged.

    Attributes:
        id: name of its folder, beside the runs'.
        label: as in the results, where it stands beside the trainers.
        members: the runs, of the same dataset, plans and training set.
        weights: all alike, or learned on the validation cases.
        seed: the first of its seeds.
    """

    id: str
    label: str
    members: Sequence[Job]
    weights: Weights
    seed: int | None


class Wanted(NamedTuple):
    """Of which cases a run's probabilities are kept."""

    validation: bool
    test: bool


def weights_of(file: StudyFile) -> list[Weights]:
    """Kinds of ensembles; learned weights only where the test cases are not those that they are fitted on."""
    wish = file.study.ensembles
    if wish is None:
        return []
    if wish.weights is not None:
        return list(wish.weights)
    return ["mean"] if file.study.test == "validation" else ["mean", "learned"]


def members_of(file: StudyFile) -> tuple[list[str], list[str]]:
    """Trainers, as the file calls them: of the ensemble of losses, and those whose seeds make one, the control among them."""
    wish = file.study.ensembles
    losses = list(wish.losses or []) if wish else []
    seeds = list(wish.seeds or []) if wish else []
    control = [file.baseline.given] if losses and file.baseline.given not in seeds else []
    return losses, control + seeds


def control_of(file: StudyFile, weights: Weights = "mean") -> str | None:
    """Label of what ensembles are compared with: as many seeds of the baseline; None without ensembles of it."""
    if file.baseline.given not in members_of(file)[1]:
        return None
    return _label(weights, f"{_size(file)} seeds of {file.baseline.label}")


def probabilities_wanted(file: StudyFile, label: str) -> Wanted:
    """What the ensembles need of a trainer's runs."""
    losses, seeds = members_of(file)
    if not any(trainer.label == label and trainer.given in (*losses, *seeds) for trainer in file.trainers):
        return Wanted(False, False)
    on_validation = file.study.test == "validation"
    return Wanted(on_validation or "learned" in weights_of(file), not on_validation)


def ensembles(file: StudyFile) -> list[Ensemble]:
    """All ensembles of the file: of losses one per seed; of seeds as many as there are seeds for, none in two."""
    return [one for weights in weights_of(file) for one in _ensembles(file, weights)]


def _ensembles(file: StudyFile, weights: Weights) -> Iterator[Ensemble]:
    losses, of_seeds = members_of(file)
    groups: dict[tuple[object, ...], dict[tuple[str, int | None], Job]] = {}
    for job in jobs(file):
        groups.setdefault((job.dataset, job.plans, job.subset), {})[job.trainer.given, job.seed] = job
    seeds, size = file.study.seeds, _size(file)
    for found in groups.values():
        wanted = []
        if losses:
            names = " + ".join(trainer.label for given in losses for trainer in file.trainers if trainer.given == given)
            wanted += [(f"losses {names}", "losses", [(given, seed) for given in losses]) for seed in seeds]
        for given in of_seeds:
            label = next(trainer.label for trainer in file.trainers if trainer.given == given)
            for begin in range(0, len(seeds) - size + 1, size):
                some = seeds[begin : begin + size]
                wanted.append((f"{size} seeds of {label}", f"seeds-{label}", [(given, seed) for seed in some]))
        for what, short, keys in wanted:
            members = [found[key] for key in keys]
            numbers = "+".join(str(seed) for seed in dict.fromkeys(member.seed for member in members))
            first = members[0]
            kind = "ensemble" if weights == "mean" else "weighted-ensemble"
            name = name_of(file, first.dataset, first.plans, f"{kind}-{short}", f"seed{numbers}", first.subset)
            yield Ensemble(name, _label(weights, what), members, weights, first.seed)


def _size(file: StudyFile) -> int:
    """How many seeds make an ensemble: as many as losses do."""
    losses = members_of(file)[0]
    return len(losses) or len(file.study.seeds)


def _label(weights: Weights, what: str) -> str:
    return f"ensemble: {what}" if weights == "mean" else f"weighted ensemble: {what}"
