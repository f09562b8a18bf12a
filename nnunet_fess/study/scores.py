"""`study evaluate`: the scores of every finished run, each measured once; `study report`: what they say."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dataset_conversion.errors import ConversionError
from dataset_conversion.splits import SPLITS
from nnunet_fess import files, machine
from nnunet_fess.errors import UserError
from nnunet_fess.study import ensembles, evaluate
from nnunet_fess.study.config import StudyFile
from nnunet_fess.study.data import cases_in, digest, who_of
from nnunet_fess.study.lock import LOCK
from nnunet_fess.study.members import control_of
from nnunet_fess.study.report import write_report
from nnunet_fess.study.results import PATIENTS, Case, Run, folder_of, read_cases, read_patients, readable_runs, write_cases
from nnunet_fess.study.statistics import MEAN
from nnunet_fess.study.tables import Described

SCORES = "scores.json"


def evaluate_study(file: StudyFile) -> list[str]:
    """Measure the finished runs that have not been measured as they are now, and write `cases.csv`.

    A run is measured anew if its predictions, the truth, the metrics or the tolerance have changed.

    Returns:
        what keeps runs from being measured, a text per run; the others are in `cases.csv` all the same.

    Raises:
        UserError: no run is finished.
    """
    runs, problems = readable_runs(file.results)
    finished = [run for run in runs if run.status == "finished"]
    if not finished:
        why = "".join(f"\n  {problem}" for problem in problems)
        raise UserError(f"no run of {file.path} is finished yet. See  nnunet_fess study status {file.path.name}{why}")
    averaged, not_made = ensembles.make(file, runs)
    finished += averaged
    problems += not_made
    found: dict[str, dict[str, evaluate.Values]] = {}
    expected = _expected(finished)
    todo: list[tuple[Run, list[evaluate.Pair], evaluate.Question, dict[str, Any]]] = []
    for run in finished:
        try:
            question = evaluate.question_of(
                run.dataset_json, metrics=tuple(file.study.metrics), nsd_tolerance_mm=file.study.nsd_tolerance_mm
            )
            pairs = evaluate.pair_predictions(run.predictions, run.truth, expected[_test_of(run)])
        except UserError as error:
            problems.append(f"{run.id}: {error}")
            continue
        made_of = _made_of(pairs, question)
        known = _known(folder_of(file.results, run.id) / SCORES, made_of)
        if known is None:
            todo.append((run, pairs, question, made_of))
        else:
            found[run.id] = known
    measured = evaluate.evaluate_all([(pairs, question) for _, pairs, question, _ in todo], machine.cores()) if todo else []
    for (run, _, _, made_of), result in zip(todo, measured, strict=True):
        if isinstance(result, UserError):
            problems.append(f"{run.id}: {result}")
            continue
        files.write_json(folder_of(file.results, run.id) / SCORES, {"made_of": made_of, **evaluate.to_json(result)})
        found[run.id] = result.cases
    cases = (
        Case.of(run, case, f"{structure} (structure)" if structure == MEAN else structure, row)
        for run in finished
        for case, values in found.get(run.id, {}).items()
        for structure, row in values.items()
    )
    write_cases(file.results, cases, file.study.metrics)
    return problems


def report_study(file: StudyFile) -> tuple[Path, list[str]]:
    """Measure what is missing and write the report; the path of its page, and what kept runs from being measured.

    Raises:
        UserError: see `evaluate_study`; or no run could be measured.
    """
    problems = evaluate_study(file)
    texts = {
        path.name: path.read_text("utf-8", errors="replace") for path in (file.path, file.results / LOCK) if path.is_file()
    }
    cases = list(read_cases(file.results))
    if not cases:
        raise UserError("\n  ".join([f"{file.path}: no run could be measured:", *problems]))
    described = Described(
        file.study.name,
        file.baseline.label,
        file.study.metrics,
        file.study.nsd_tolerance_mm,
        texts,
        patients_of(file, sorted({case.case for case in cases})),
        control_of(file),
    )
    runs = [*readable_runs(file.results)[0], *ensembles.recorded(file)]
    return write_report(file.results, described, runs, cases), problems


def patients_of(file: StudyFile, cases: Sequence[str]) -> dict[str, str]:
    """Case → patient: as the file says, else as `study run` has found our converter's records.

    Raises:
        UserError: the file does not say it of every case, or what was found is of none of them.
    """
    who = who_of(file)
    if who is None:
        recorded = read_patients(file.results)
        if recorded and not recorded.keys() & set(cases):
            raise UserError(
                f"{file.results / PATIENTS} knows none of the cases, such as {cases[0]}; it has {next(iter(recorded))}, … "
                "nnunet_fess study run FILE  writes it."
            )
        return recorded
    try:
        return {member.id: member.group for member in who.members(cases)}
    except ConversionError as error:
        told = str(error).removeprefix("--patient-regex ")
        raise UserError(f"{file.at('patients')}: {told}. Its test cases are cases, too.") from error


_Test = tuple[str, int, str, str]


def _test_of(run: Run) -> _Test:
    """What runs share that are tested on the same cases."""
    return run.dataset, run.fold, str(run.tested_on.get("test")), str(run.truth)


def _expected(runs: Sequence[Run]) -> dict[_Test, set[str]]:
    """Test → its cases: the labelled ones of a test folder, the fold's validation cases as nnU-Net's splits have them.

    Where these cannot be told any more, what any of the runs has predicted: none may be measured on fewer.
    """
    by_test: dict[_Test, list[Run]] = {}
    for run in runs:
        by_test.setdefault(_test_of(run), []).append(run)
    found = {}
    for test, tested in by_test.items():
        known = next((cases for cases in map(_cases_of, tested) if cases is not None), None)
        if known is None:
            known = set[str]()
            for run in tested:
                with contextlib.suppress(UserError):  # said where it is measured
                    known.update(evaluate.segmentations(run.predictions))
        found[test] = known
    return found


def _cases_of(run: Run) -> set[str] | None:
    try:
        if run.tested_on.get("test", "validation") != "validation":
            ending = files.read_json(run.dataset_json)["file_ending"]
            return cases_in(run.truth, ending) or None
        cases = files.read_json(run.truth.parent / SPLITS)[run.nnunet_fold]["val"]
        return set(cases) if digest(sorted(cases)) == run.made_of.get("validation cases") else None
    except (UserError, OSError, LookupError, TypeError):
        return None


def _made_of(pairs: Sequence[evaluate.Pair], question: evaluate.Question) -> dict[str, Any]:
    """What the scores depend on, as JSON gives it back."""
    asked = replace(question, structures={name: list(labels) for name, labels in question.structures.items()})
    seen = {pair.case: [_seen(pair.prediction), _seen(pair.truth)] for pair in pairs}
    made_of: dict[str, Any] = json.loads(json.dumps({"question": vars(asked), "files": seen}))
    return made_of


def _seen(path: Path) -> list[int]:
    known = path.stat()
    return [known.st_size, known.st_mtime_ns]


def _known(path: Path, made_of: Mapping[str, Any]) -> dict[str, evaluate.Values] | None:
    try:
        content = json.loads(path.read_bytes())
        asked = made_of["question"]
        if content["made_of"] != made_of or content["cases"].keys() != made_of["files"].keys():
            return None
        return {
            case: {
                structure: {metric: _plain(values[structure][metric]) for metric in asked["metrics"]}
                for structure in asked["structures"]
            }
            for case, values in content["cases"].items()
        }
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ):  # absent or damaged: measured anew
        return None


def _plain(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, float | int) or not math.isfinite(value):
        raise TypeError
    return float(value)
