"""The demo's comparison: the preset `quick` with the trainers, seed and device that were asked for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_fess import files
from nnunet_fess.demo.trainers import DemoTrainer, for_study
from nnunet_fess.study import presets
from nnunet_fess.study.config import load
from nnunet_fess.study.results import read_cases, read_runs

PRESET = "quick"
_CORES = 2  # of each run, where several share the machine


@dataclass(frozen=True)
class Done:
    """A finished run.

    Attributes:
        dice: region → mean Dice of the test cases; NaN where it is defined in none.
        model: folder of nnU-Net's results.
        predictions: folder of the test cases' predictions.
    """

    dice: dict[str, float]
    model: Path
    predictions: Path


def write(path: Path, results: str, trainers: Sequence[DemoTrainer], device: str, seed: int, cores: int) -> None:
    """Write the study's file.

    Args:
        path: the file.
        results: folder of its results, beside it.
        trainers: what to compare; the first is the baseline.
        device: "cpu" or "cuda".
        seed: of the trainings.
        cores: of the machine; on a CPU as many runs at once as have two each.
    """
    from ruamel.yaml import YAML

    round_trip = YAML(typ="rt")
    round_trip.width = 200
    content = round_trip.load(presets.text(PRESET))
    names, options = for_study(trainers)
    content |= {"name": "demo", "results": results, "device": device, "options": options, "seeds": [seed]}
    content |= {"trainers": names, "baseline": names[0]}
    parallel = min(len(names), max(1, cores // _CORES)) if device == "cpu" else 1
    content["executor"] = {"kind": "local", "parallel": parallel}
    comment = "The study of  nnunet_fess demo:  nnunet_fess study init --preset quick, with what was asked for."
    content.yaml_set_start_comment(comment)
    text = io.StringIO()
    round_trip.dump(content, text)
    files.write_text(path, text.getvalue())


def show(path: Path) -> None:
    """Print the commands that its runs still need."""
    from nnunet_fess.study.run import dry_run

    dry_run(load(path))


def run(path: Path) -> None:
    """Run what is missing.

    Raises:
        UserError: a run failed.
    """
    from nnunet_fess.study.run import run_study

    run_study(load(path))


def finish(path: Path) -> dict[str, Done]:
    """Evaluate, write the report, and say what came out: trainer's name → results."""
    from nnunet_fess.study.scores import report_study  # here, because statistics take seconds to import that --help should not

    file = load(path)
    report_study(file)
    dice: dict[str, dict[str, list[float]]] = {}
    for case in read_cases(file.results):
        dice.setdefault(case.run, {}).setdefault(case.structure, []).append(case.values["dice"])
    done = {}
    for run in read_runs(file.results):
        means = {structure: _mean(values) for structure, values in dice.get(run.id, {}).items()}
        done[run.trainer_name] = Done(means, run.model, run.predictions)
    return done


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
