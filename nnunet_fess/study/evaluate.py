"""A folder of segmentations against a folder of true ones, case by case, in parallel; any two folders, nnU-Net's or not."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_conversion.parallel import run
from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study.metrics import OVERLAP, SURFACE, case_metrics

# structure → metric → value; NaN where it is not defined
Values = dict[str, dict[str, float]]
_SHOWN = 10  # so many problems are listed before a message says how many more there are


@dataclass(frozen=True)
class Question:
    """What is asked of every case.

    Attributes:
        structures: name → the labels that make it up.
        metrics: of `nnunet_fess.study.metrics.METRICS`.
        nsd_tolerance_mm: for the metric `nsd`.
        ignore_label: of the truth.
        reader: name of nnU-Net's reader class; empty: the one nnU-Net takes for the files' ending.
    """

    structures: Mapping[str, Sequence[int]]
    metrics: Sequence[str] = (*OVERLAP, *SURFACE)
    nsd_tolerance_mm: float = 1.0
    ignore_label: int | None = None
    reader: str = ""


@dataclass(frozen=True)
class Pair:
    """One case: the file that was predicted and the one that is true."""

    case: str
    prediction: Path
    truth: Path


@dataclass
class Evaluated:
    """What came out, cases in the order of their names.

    Attributes:
        question: what was asked.
        cases: case → structure → metric → value.
        warnings: about files that were left out, and geometries that differ.
    """

    question: Question
    cases: dict[str, Values]
    warnings: list[str] = field(default_factory=list)

    def defined(self, structure: str, metric: str) -> list[float]:
        """The values of the cases in which it is defined."""
        values = [case[structure][metric] for case in self.cases.values()]
        return [value for value in values if not math.isnan(value)]

    def mean(self, structure: str, metric: str) -> float:
        """Mean over the cases in which it is defined; NaN if there is none."""
        values = self.defined(structure, metric)
        return float(np.mean(values)) if values else math.nan


def question_of(dataset_json: Path, **options: Any) -> Question:
    """Structures, ignore label and reader as nnU-Net's dataset.json gives them.

    Args:
        dataset_json: the file.
        options: further attributes of `Question`.

    Raises:
        UserError: it cannot be read, or has no labels.
    """
    content = files.read_json(dataset_json)
    labels = content.get("labels") if isinstance(content, dict) else None
    try:
        if not isinstance(labels, dict) or not labels:
            raise ValueError("no labels")
        parts = {str(name): tuple(map(_label, label if isinstance(label, list) else [label])) for name, label in labels.items()}
        if not all(parts.values()):
            raise ValueError("a region of nothing")
    except (TypeError, ValueError) as error:
        raise UserError(
            f'{dataset_json}: "labels" must give every name a whole number, 0 or more, or a list of them, found {labels}.'
        ) from error
    ignore = parts.pop("ignore", (None,))[0]
    structures = {name: values for name, values in parts.items() if name != "background" and values != (0,)}
    if not structures:
        raise UserError(f'{dataset_json}: "labels" has the background alone; there is nothing to measure.')
    reader = str(content.get("overwrite_image_reader_writer") or "")
    return Question(structures, ignore_label=ignore, reader="" if reader == "None" else reader, **options)


def _label(value: Any) -> int:
    label = int(value)
    if label < 0 or isinstance(value, bool) or (isinstance(value, float) and label != value):
        raise ValueError(f"{value} is no label")
    return label


def question_without_labels(pairs: Sequence[Pair], **options: Any) -> Question:
    """The labels above 0 that there are in the true files, named by their numbers."""
    found = {int(label) for pair in pairs for label in np.unique(_read(pair.truth, "")[0])}
    if not found - {0}:
        raise UserError(f"{pairs[0].truth.parent}: the true files hold no label but 0. Name the labels:  --labels dataset.json")
    return Question({str(label): (label,) for label in sorted(found - {0})}, **options)


def dataset_json_of(predictions: Path, truth: Path) -> Path | None:
    """The dataset.json that nnUNetv2_predict leaves beside its predictions, or the one above the folder of the truth."""
    places = (predictions / "dataset.json", truth.parent / "dataset.json", truth / "dataset.json")
    return next((place for place in places if place.is_file()), None)


def pair_up(predictions: Path, truth: Path) -> tuple[list[Pair], list[str]]:
    """Every true file with its prediction of the same name, and warnings about predictions without truth.

    Raises:
        UserError: no such folder, nothing to read in it, a true file without prediction.
    """
    theirs, ours = segmentations(predictions), segmentations(truth)
    _refuse_fewer(theirs, ours, predictions, f" of {truth}", "; predict them, or move their true files away")
    extra = [case for case in theirs if case not in ours]
    warnings = [f"{len(extra)} predictions have no true file and are left out: {_some(extra)}"] if extra else []
    return [Pair(case, theirs[case], ours[case]) for case in ours], warnings


def pair_predictions(predictions: Path, truth: Path, expected: Collection[str] = ()) -> list[Pair]:
    """Every prediction with its truth, where the true files are more than were predicted, as in a validation fold.

    Args:
        predictions: folder.
        truth: folder.
        expected: cases that must be there; others are left out then. Empty: those that are there.

    Raises:
        UserError: no such folder, nothing to read in it, a prediction without true file, an expected case without prediction.
    """
    theirs, ours = segmentations(predictions), segmentations(truth)
    if expected:
        _refuse_fewer(theirs, sorted(expected), predictions)
        theirs = {case: path for case, path in theirs.items() if case in expected}
    if lacking := [case for case in theirs if case not in ours]:
        raise UserError(
            f"{len(lacking)} of {len(theirs)} predictions of {predictions} have no true file in {truth}: {_some(lacking)}."
        )
    return [Pair(case, theirs[case], ours[case]) for case in theirs]


def _refuse_fewer(
    theirs: Collection[str], expected: Collection[str], predictions: Path, where: str = "", advice: str = ""
) -> None:
    if missing := [case for case in expected if case not in theirs]:
        raise UserError(
            f"{len(missing)} of {len(expected)} cases{where} have no prediction in {predictions}: {_some(missing)}. Leaving "
            f"them out would flatter the result{advice}."
        )


def evaluate(pairs: Sequence[Pair], question: Question, workers: int, title: str = "evaluate") -> Evaluated:
    """Measure every case, several at a time.

    Raises:
        UserError: files that cannot be read or do not fit together; all of them are named, and nothing is evaluated.
    """
    (evaluated,) = evaluate_all([(pairs, question)], workers, title)
    if isinstance(evaluated, UserError):
        raise evaluated
    return evaluated


def evaluate_all(
    jobs: Sequence[tuple[Sequence[Pair], Question]], workers: int, title: str = "evaluate"
) -> list[Evaluated | UserError]:
    """The same for several folders at once, whose cases share the workers.

    Returns:
        of each, in order, what came out, or the error that names its problems.
    """
    tasks = [(number, pair, question) for number, (pairs, question) in enumerate(jobs) for pair in pairs]
    found: list[dict[str, Values]] = [{} for _ in jobs]
    problems: list[list[str]] = [[] for _ in jobs]
    warnings: list[list[str]] = [[] for _ in jobs]
    for number, case, values, problem, warning in run(_measured, tasks, min(workers, max(1, len(tasks))), title):
        if problem:
            problems[number].append(f"{case}: {problem}")
        elif values is not None:
            found[number][case] = values
        if warning:
            warnings[number].append(f"{case}: {warning}")
    result: list[Evaluated | UserError] = []
    for number, (pairs, question) in enumerate(jobs):
        if wrong := problems[number]:
            told = "\n  ".join(_first(sorted(wrong)))
            result.append(UserError(f"{len(wrong)} of {len(pairs)} cases cannot be evaluated:\n  {told}"))
        else:
            cases = {pair.case: found[number][pair.case] for pair in pairs}
            result.append(Evaluated(question, cases, sorted(warnings[number])))
    return result


def to_json(evaluated: Evaluated) -> dict[str, Any]:
    """As JSON: the question, the means with the number of cases behind them, every case; null where not defined."""
    question = evaluated.question

    def plain(value: float) -> float | None:
        return None if math.isnan(value) else value

    return {
        "structures": {name: list(labels) for name, labels in question.structures.items()},
        "metrics": list(question.metrics),
        "nsd_tolerance_mm": question.nsd_tolerance_mm,
        "ignore_label": question.ignore_label,
        "mean": {
            structure: {
                metric: {
                    "mean": plain(evaluated.mean(structure, metric)),
                    "defined": len(evaluated.defined(structure, metric)),
                    "cases": len(evaluated.cases),
                }
                for metric in question.metrics
            }
            for structure in question.structures
        },
        "cases": {
            case: {structure: {metric: plain(value) for metric, value in row.items()} for structure, row in values.items()}
            for case, values in evaluated.cases.items()
        },
        "warnings": evaluated.warnings,
    }


def to_csv(evaluated: Evaluated) -> str:
    """As CSV: a row per case and structure, a column per metric, empty where not defined."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "structure", *evaluated.question.metrics])
    for case, values in evaluated.cases.items():
        for structure, row in values.items():
            writer.writerow([case, structure, *("" if math.isnan(value) else repr(value) for value in row.values())])
    return text.getvalue()


def table(evaluated: Evaluated) -> str:
    """Means as text; behind a mean that not all cases have, from how many it is."""
    question, number = evaluated.question, len(evaluated.cases)
    rows = [["", *(f"nsd ({question.nsd_tolerance_mm:g} mm)" if metric == "nsd" else metric for metric in question.metrics)]]
    for structure in question.structures:
        cells = []
        for metric in question.metrics:
            defined = len(evaluated.defined(structure, metric))
            behind = "" if defined == number else f" ({defined} of {number})"
            cells.append((f"{evaluated.mean(structure, metric):.4f}" if defined else "undefined") + behind)
        rows.append([structure, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _measured(task: tuple[int, Pair, Question]) -> tuple[int, str, Values | None, str, str]:
    """number, case, values, problem, warning: of a case that fails, the others must not suffer."""
    number, pair, question = task
    try:
        truth, spacing, place = _read(pair.truth, question.reader)
        prediction, other_spacing, other_place = _read(pair.prediction, question.reader)
        if prediction.shape != truth.shape:
            raise UserError(f"the prediction has {_size(prediction)} voxels, the truth {_size(truth)}")
        if not np.allclose(spacing, other_spacing, rtol=1e-3):
            raise UserError(f"the prediction's voxels are {other_spacing} mm, the truth's {spacing}")
        warning = ""
        if place is not None and other_place is not None and not np.allclose(place, other_place, atol=0.01 * min(spacing)):
            warning = "prediction and truth lie elsewhere in space (origin or direction); compared voxel by voxel"
        metrics = case_metrics(
            prediction, truth, question.structures, spacing, question.metrics, question.nsd_tolerance_mm, question.ignore_label
        )
        return number, pair.case, metrics, "", warning
    except (UserError, ValueError) as error:
        return number, pair.case, None, str(error), ""


def read_labels(path: Path, reader: str = "") -> NDArray[np.int64]:
    """A segmentation, its axes in nnU-Net's order.

    Args:
        path: the file.
        reader: see `Question`.

    Raises:
        UserError: it cannot be read, or holds values that are no labels.
    """
    return _read(path, reader)[0]


def _read(path: Path, reader: str) -> tuple[NDArray[np.int64], Sequence[float], NDArray[np.float64] | None]:
    """Labels, mm per axis in the array's order, and where the volume lies, if its format knows."""
    # here, because nnU-Net takes seconds to import that --help should not
    from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

    content = {"file_ending": _ending(path), **({"overwrite_image_reader_writer": reader} if reader else {})}
    try:
        labels, properties = determine_reader_writer_from_dataset_json(content, verbose=False)().read_seg(str(path))
    except Exception as error:  # each format's library has errors of its own
        raise UserError(
            f"{path} cannot be read: {str(error).strip().splitlines()[-1] if str(error).strip() else error!r}"
        ) from error
    whole = np.asarray(labels[0])
    if not np.issubdtype(whole.dtype, np.integer):
        rounded = np.rint(whole)
        if not np.array_equal(rounded, whole):
            raise UserError(
                f"{path} holds values that are no labels, such as {whole[rounded != whole].flat[0]}; a segmentation is expected"
            )
        whole = rounded
    stuff = properties.get("sitk_stuff")
    place = None if stuff is None else np.concatenate([np.ravel(stuff["origin"]), np.ravel(stuff["direction"])])
    return whole.astype(np.int64), [float(step) for step in properties["spacing"]], place


_ENDINGS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".gipl", ".tif", ".tiff", ".png", ".bmp")


def _ending(path: Path) -> str:
    return next((ending for ending in _ENDINGS if path.name.lower().endswith(ending)), "")


def segmentations(folder: Path) -> dict[str, Path]:
    """Case → file.

    Raises:
        UserError: no such folder, nothing in it, two files of one case.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. A folder of segmentations is expected.")
    found: dict[str, Path] = {}
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}.") from error
    for path in there:
        if (ending := _ending(path)) and path.is_file() and not path.name.startswith("."):
            case = path.name[: -len(ending)]
            if case in found:
                raise UserError(f"{folder} has two files of case {case}: {found[case].name} and {path.name}. Leave one.")
            found[case] = path
    if not found:
        raise UserError(f"{folder} holds no segmentation ({', '.join(_ENDINGS)}).")
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(_first(names))


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _size(labels: NDArray[Any]) -> str:
    return "×".join(map(str, labels.shape))
