"""Ensembles: the mean of several runs' probabilities by nnU-Net's own function, and with weights learned for every class.

The learned weights of class c over members m are those that

    minimise  Σ_voxels (y_c − Σ_m w_cm p_cm)²  with  w_cm ≥ 0

(stacking with non-negative coefficients: Breiman, Stacked regressions, 1996), fitted to the truth y of each fold's validation
cases, which none of the fold's members was trained on. The sums over voxels are all that is kept, so that cases are read one
by one. Members that the cases do not tell apart get the same weight; classes that no validation case has get the mean.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.parallel import run as run_in_parallel
from nnunet_fess import files, machine
from nnunet_fess.errors import UserError
from nnunet_fess.plans import read_plans_file
from nnunet_fess.study import evaluate
from nnunet_fess.study.config import StudyFile
from nnunet_fess.study.members import Ensemble, ensembles
from nnunet_fess.study.results import Run, folder_of, read_run, write_run
from nnunet_fess.study.steps import PREDICTIONS

WEIGHTS = "weights.json"
_RIDGE = 1e-6  # of the mean of the members' squares: decides only what the cases leave open
# What a damaged file of probabilities raises, and what to do then.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
_AGAIN = "Remove it and call  study run  again."
Array = NDArray[np.float64]
_Merge = tuple[
    str, list[str], str, dict[str, Any], dict[str, Any]
]  # ensemble, probabilities, output without ending, dataset, plans


def make(file: StudyFile, runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The ensembles whose members are finished, as runs of their own; those that are as they were are not made again.

    Args:
        file: the study.
        runs: all of its runs.

    Returns:
        the ensembles, and what keeps others from being made, a text each.
    """
    by_id = {run.id: run for run in runs}
    made: dict[str, Run] = {}
    todo: list[_Todo] = []
    tasks: list[_Merge] = []
    problems: dict[str, str] = {}
    for ensemble in ensembles(file):
        members = [by_id[job.id] for job in ensemble.members if job.id in by_id]
        if len(members) < len(ensemble.members) or any(run.status != "finished" for run in members):
            continue  # the report lists the runs that are not finished
        try:
            one = _Todo(file.results, ensemble, members)
            known = one.as_it_was()
            if known is None:
                tasks += one.merges() if ensemble.weights == "mean" else []
                todo.append(one)
            else:
                made[ensemble.id] = known
        except UserError as error:
            problems[ensemble.id] = str(error)
    for name, wrong in run_in_parallel(_merged, tasks, machine.cores(), "ensembles"):
        if wrong:
            problems.setdefault(name, wrong)
    for one in todo:
        try:
            if one.ensemble.weights == "learned":
                one.learn_and_apply()
            if one.ensemble.id not in problems:
                made[one.ensemble.id] = one.done()
        except UserError as error:
            problems[one.ensemble.id] = str(error)
    in_order = [made[ensemble.id] for ensemble in ensembles(file) if ensemble.id in made]
    return in_order, [f"{name}: {error}" for name, error in problems.items()]


def recorded(file: StudyFile) -> list[Run]:
    """The ensembles that were made; `make` has told whose record is damaged."""
    found = []
    for ensemble in ensembles(file):
        with contextlib.suppress(UserError):
            found.append(read_run(file.results, ensemble.id))
    return [run for run in found if run is not None]


class _Todo:
    """An ensemble whose members are there.

    Raises:
        UserError: their probabilities are not, or of other cases.
    """

    def __init__(self, results: Path, ensemble: Ensemble, members: Sequence[Run]) -> None:
        self.results, self.ensemble, self.members = results, ensemble, members
        learned = ensemble.weights == "learned"
        self.tested = [_probabilities(run.predictions, run.id) for run in members]
        self.fitted = [_probabilities(run.model / "validation", run.id) for run in members] if learned else []
        for found in (self.tested, self.fitted):
            for run, cases in zip(members, found, strict=False):
                if odd := sorted(cases.keys() ^ found[0].keys()):
                    raise UserError(f"{run.id} and {members[0].id} have not the same cases: {', '.join(odd[:3])}")
        seen = _digest([*self.tested, *self.fitted])
        self.made_of = {"members": [run.id for run in members], "files": seen, "weights": ensemble.weights}
        content = files.read_json(members[0].dataset_json)
        if not isinstance(content, dict) or not isinstance(content.get("file_ending"), str):
            raise UserError(f'{members[0].dataset_json} has no "file_ending".')
        self.ending = content["file_ending"]
        self.folder = folder_of(results, ensemble.id)
        self.output = self.folder / f"{PREDICTIONS}{files.PARTIAL}"

    def as_it_was(self) -> Run | None:
        """What an earlier call has made, if it would be the same now; else room for it."""
        known = read_run(self.results, self.ensemble.id)
        whole = self.folder / PREDICTIONS
        there = all((whole / f"{case}{self.ending}").is_file() for case in self.tested[0])
        if known is not None and known.made_of == self.made_of and there:
            return known
        for path in (self.output, whole):
            shutil.rmtree(path, ignore_errors=True)
        self.output.mkdir(parents=True)
        return None

    def merges(self) -> list[_Merge]:
        """Cases for nnU-Net's own ensembling."""
        dataset_json, plans = _description(self.members[0])
        return [
            (self.ensemble.id, [str(paths[case]) for paths in self.tested], str(self.output / case), dataset_json, plans)
            for case in sorted(self.tested[0])
        ]

    def learn_and_apply(self) -> None:
        """Fit the weights to the validation cases, and weight the test cases' probabilities by them."""
        weights = learn(self.members, self.fitted)
        files.write_json(self.folder / WEIGHTS, _as_json(self.members, weights))
        _weighted(self.members, self.tested, weights, self.output, self.ending)

    def done(self) -> Run:
        """Give the predictions their place, and the ensemble its record."""
        self.output.replace(self.folder / PREDICTIONS)
        run = replace(
            self.members[0],
            id=self.ensemble.id,
            trainer=self.ensemble.label,
            trainer_name=" + ".join(dict.fromkeys(member.trainer_name for member in self.members)),
            seed=self.ensemble.seed,
            status="finished",
            reason="",
            steps=tuple(step for member in self.members for step in member.steps),  # it costs what its members do
            model=self.folder,
            predictions=self.folder / PREDICTIONS,
            made_of=self.made_of,
            environment={},
        )
        write_run(self.results, run)
        return run


def _merged(task: _Merge) -> tuple[str, str]:
    """nnU-Net's own ensembling of one case, which averages and decides; the ensemble, and what went wrong."""
    from nnunetv2.ensembling.ensemble import merge_files
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    name, paths, output, dataset_json, content = task
    plans = PlansManager(content)
    reader = plans.image_reader_writer_class()
    try:
        merge_files(paths, output, dataset_json["file_ending"], reader, plans.get_label_manager(dataset_json))
    except _UNREADABLE as error:
        return name, f"{', '.join(paths)}: one cannot be read: {error}. {_AGAIN}"
    return name, ""


def learn(members: Sequence[Run], probabilities: Sequence[Mapping[str, Path]]) -> Array:
    """Weights of every class or region, shape (classes, members), fitted on validation cases.

    Args:
        members: the runs.
        probabilities: of each, case → file of its probabilities.

    Raises:
        UserError: a file is missing, damaged or of another shape than the truth.
    """
    labels = _labels(members[0])
    reader = evaluate.question_of(members[0].dataset_json).reader
    truth_folder = members[0].dataset_json.parent / "gt_segmentations"
    pairs = evaluate.pair_predictions(members[0].model / "validation", truth_folder)
    truths = {pair.case: pair.truth for pair in pairs}
    squares: Array = np.zeros(())
    products: Array = np.zeros(())
    seen: NDArray[np.bool_] = np.zeros((), bool)
    for case in sorted(probabilities[0]):
        truth = evaluate.read_labels(truths[case], reader)
        found = np.stack([_read(paths[case]) for paths in probabilities])
        if found.shape[2:] != truth.shape:
            raise UserError(f"{probabilities[0][case]}: probabilities of {found.shape[2:]} voxels, the truth has {truth.shape}")
        inside = truth != labels.ignore_label if labels.has_ignore_label else np.ones(truth.shape, bool)
        classes = _one_hot(truth, labels)[:, inside]
        values = found[:, :, inside].astype(np.float64)
        squares = squares + np.einsum("mcv,ncv->cmn", values, values, optimize=True)
        products = products + np.einsum("mcv,cv->cm", values, classes, optimize=True)
        seen = seen | classes.any(1)
    return fit(squares, products, seen)


def fit(squares: Array, products: Array, seen: NDArray[np.bool_]) -> Array:
    """The weights from sums over voxels.

    Args:
        squares: Σ p_m p_n, shape (classes, members, members).
        products: Σ p_m y, shape (classes, members).
        seen: whether a class is anywhere in the truth; others get the mean.

    Returns:
        shape (classes, members), none negative.
    """
    from scipy.optimize import nnls

    count = squares.shape[1]
    weights = np.full(products.shape, 1 / count)
    # A class for which no member has any probability is one more of which the cases say nothing.
    for number in np.flatnonzero(seen & (np.trace(squares, axis1=1, axis2=2) > 0)):
        ridge = _RIDGE * np.trace(squares[number]) / count
        # towards the mean, where the cases say nothing
        root = np.linalg.cholesky(squares[number] + ridge * np.eye(count))
        target = np.linalg.solve(root, products[number] + ridge / count)
        weights[number] = nnls(root.T, target)[0]
    return weights


def _weighted(members: Sequence[Run], tested: Sequence[Mapping[str, Path]], weights: Array, output: Path, ending: str) -> None:
    from batchgenerators.utilities.file_and_folder_operations import load_pickle

    labels, plans = _labels(members[0]), _plans(members[0])
    writer = plans.image_reader_writer_class()
    for case in sorted(tested[0]):
        total: Any = 0
        for member, paths in enumerate(tested):
            total = total + weights[:, member, None, None, None].astype(np.float32) * _read(paths[case])
        segmentation = labels.convert_probabilities_to_segmentation(total)
        properties = load_pickle(str(tested[0][case].with_suffix(".pkl")))
        writer.write_seg(segmentation, str(output / f"{case}{ending}"), properties)


def _one_hot(truth: NDArray[np.int64], labels: Any) -> NDArray[np.bool_]:
    if labels.has_regions:
        return np.stack([np.isin(truth, np.atleast_1d(region)) for region in labels.foreground_regions])
    return np.stack([truth == label for label in labels.all_labels])


def _read(path: Path) -> NDArray[np.float32]:
    try:
        found: NDArray[np.float32] = np.load(path)["probabilities"].astype(np.float32, copy=False)
        return found
    except _UNREADABLE as error:
        raise UserError(f"{path} cannot be read: {error}. {_AGAIN}") from error


def _probabilities(folder: Path, run_id: str) -> dict[str, Path]:
    found = {path.stem: path for path in sorted(folder.glob("*.npz"))}
    if not found:
        raise UserError(f"{run_id} has kept no probabilities in {folder}. Call  study run  again, which makes them")
    return found


def _plans(run: Run) -> Any:
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    return PlansManager(_description(run)[1])


def _labels(run: Run) -> Any:
    return _plans(run).get_label_manager(_description(run)[0])


def _description(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """dataset.json and plans, as nnU-Net keeps them beside the models."""
    folder = run.model.parent
    return files.read_json(folder / "dataset.json"), read_plans_file(folder / "plans.json")


def _as_json(members: Sequence[Run], weights: Array) -> dict[str, Any]:
    labels = _labels(members[0])
    names = [str(region) for region in (labels.foreground_regions if labels.has_regions else labels.all_labels)]
    return {
        "fitted on": "the fold's validation cases",
        "weights": {
            name: {run.id: float(weight) for run, weight in zip(members, row, strict=True)}
            for name, row in zip(names, weights, strict=True)
        },
    }


def _digest(found: Sequence[Mapping[str, Path]]) -> str:
    seen = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for paths in found for path in paths.values()]
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:16]
