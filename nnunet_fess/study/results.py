"""What a study leaves behind, as data: its runs (`runs/ID/run.json`, `runs.csv`) and their scores (`cases.csv`).

Whoever evaluates or reports reads this and asks nothing else of how the runs were made.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from nnunet_fess import files
from nnunet_fess.errors import UserError

Status = Literal["waiting", "running", "finished", "failed", "interrupted", "outdated"]
RUNS, CASES, PATIENTS, RECORD, LOG = "runs.csv", "cases.csv", "patients.csv", "run.json", "log.txt"


@dataclass(frozen=True)
class Step:
    """One command of a run.

    Attributes:
        command: as a shell takes it.
        started: when, in ISO 8601 with the offset from UTC.
        seconds: how long it took, or has taken when it was stopped.
        exit: its exit code as a shell has it; None while it runs and when it was stopped.
        peak_memory_mb: largest memory of all its processes together, pages that they share counted once; None where not known.
    """

    command: str
    started: str
    seconds: float = 0.0
    exit: int | None = None
    peak_memory_mb: float | None = None


@dataclass(frozen=True)
class Run:
    """One training with its test: the unit that a study repeats.

    Attributes:
        id: its name and that of its folder, such as ``CWCD_adaptive-seed0-fold0-all``.
        dataset: such as ``Dataset504_Hippocampus``.
        configuration: of the plans.
        plans: their name.
        trainer: its label, the same for every seed: ``CWCD_adaptive``.
        trainer_name: what nnU-Net was given, seed and study's options included.
        seed: None for trainers that have none.
        fold: as in the study's file.
        size: wanted number of training cases, or ``all``.
        repeat: which draw of that size, from 0.
        nnunet_fold: number of the fold in nnU-Net's ``splits_final.json``.
        training_cases: how many there are.
        status: how far it is; ``outdated``: made of something else than the file now says.
        steps: its commands in the order in which they ran, those of earlier calls included.
        reason: why it failed, in a line or two.
        model: folder of nnU-Net's results, ``…/fold_N``.
        predictions: folder of the test cases' predictions.
        truth: folder of their labels.
        dataset_json: nnU-Net's description of the labels.
        made_of: what the training was made of; the same again means the same run.
        tested_on: what the test was made of, on top of the training.
        environment: variables that the commands ran with, on top of the user's own.
        host: name of the machine.
        versions: of Python and of the packages that matter.
    """

    id: str
    dataset: str
    configuration: str
    plans: str
    trainer: str
    trainer_name: str
    seed: int | None
    fold: int
    size: int | Literal["all"]
    repeat: int
    nnunet_fold: int
    training_cases: int
    status: Status = "waiting"
    steps: Sequence[Step] = ()
    reason: str = ""
    model: Path = Path()
    predictions: Path = Path()
    truth: Path = Path()
    dataset_json: Path = Path()
    made_of: Mapping[str, Any] = field(default_factory=dict)
    tested_on: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time of all its commands, of repeated and continued ones, too."""
        return sum(step.seconds for step in self.steps)

    @property
    def peak_memory_mb(self) -> float | None:
        """The largest of its commands; None where none is known."""
        return max((step.peak_memory_mb for step in self.steps if step.peak_memory_mb is not None), default=None)

    @property
    def exit(self) -> int | None:
        """Exit code of its last command."""
        return self.steps[-1].exit if self.steps else None


_RECORD = TypeAdapter(Run)  # says what of a record is not of the kind that the fields above have
_PATHS = ("model", "predictions", "truth", "dataset_json")


_ANEW = "Remove it; the run is then looked at anew."


def folder_of(results: Path, run_id: str) -> Path:
    """The directory of a run: its record, its log, its predictions."""
    return results / "runs" / run_id


def write_run(results: Path, run: Run) -> None:
    """Write a run's record whole or not at all; what lies within the results folder is written relative to it."""
    content = dataclasses.asdict(run)
    for name in _PATHS:
        path = getattr(run, name)
        content[name] = path.relative_to(results).as_posix() if path.is_relative_to(results) else str(path)
    folder = folder_of(results, run.id)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / RECORD, content)


def read_run(results: Path, run_id: str) -> Run | None:
    """A run's record; None if it has none.

    Raises:
        UserError: the record is damaged.
    """
    path = folder_of(results, run_id) / RECORD
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged: {error}. {_ANEW}") from error
    try:
        found = _RECORD.validate_python(content)
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        place = ".".join(map(str, wrong["loc"]))
        raise UserError(f"{path} is not a record of this version: {place or 'it'}: {wrong['msg']}. {_ANEW}") from error
    paths = {name: results / path for name in _PATHS if (path := getattr(found, name)) != Path()}
    # a run that was renamed is called as its folder is
    return dataclasses.replace(found, id=run_id, steps=tuple(found.steps), **paths)


def readable_runs(results: Path) -> tuple[list[Run], list[str]]:
    """The runs of the study in its file's order, those that `runs.csv` lists; and what is wrong with the records of others.

    Raises:
        UserError: there is no `runs.csv`, or it is damaged.
    """
    runs, problems = dict[str, Run](), list[str]()
    known: dict[tuple[object, ...], str] = {}
    for _, row in _rows(results / RUNS, ["run"], "nnunet_fess study run FILE  writes it."):
        try:
            run = read_run(results, row["run"])
            if run is None:
                record = folder_of(results, row["run"]) / RECORD
                raise UserError(f"{results / RUNS} lists {row['run']}, but {record} does not exist.")
            if run.status == "finished":
                what = (run.dataset, run.plans, run.trainer, run.seed, run.fold, run.size, run.repeat)
                if (other := known.setdefault(what, run.id)) != run.id:
                    raise UserError(f"{folder_of(results, run.id) / RECORD} says that it is the same run as {other}. {_ANEW}")
            runs[run.id] = run
        except UserError as error:
            problems.append(str(error))
    return list(runs.values()), problems


def read_runs(results: Path) -> list[Run]:
    """The runs of the study in its file's order, all of them.

    Raises:
        UserError: there is no `runs.csv`, or a record is missing or damaged.
    """
    runs, problems = readable_runs(results)
    if problems:
        raise UserError(problems[0])
    return runs


def write_runs(results: Path, runs: Iterable[Run]) -> None:
    """Write `runs.csv`: a row per run, for people and spreadsheets; the records have more."""
    rows = (
        {
            "run": run.id,
            "dataset": run.dataset,
            "plans": run.plans,
            "trainer": run.trainer,
            "seed": _cell(run.seed),
            "fold": run.fold,
            "size": run.size,
            "repeat": run.repeat,
            "status": run.status,
            "training_cases": run.training_cases,
            "seconds": _cell(round(run.seconds, 1)),
            "peak_memory_mb": _cell(run.peak_memory_mb),
            "exit": _cell(run.exit),
            "started": run.steps[0].started if run.steps else "",
            "trainer_name": run.trainer_name,
            "nnunet_fold": run.nnunet_fold,
            "model": _short(results, run.model),
            "predictions": _short(results, run.predictions),
            "commands": " && ".join(step.command for step in run.steps),
            "reason": run.reason,
        }
        for run in runs
    )
    content = list(rows)
    header = list(content[0]) if content else ["run"]
    _write(results / RUNS, header, (list(row.values()) for row in content))


@dataclass(frozen=True)
class Case:
    """The scores of one structure in one test case of one run.

    Attributes:
        run: id of the run.
        dataset, trainer, seed, fold, size, repeat, plans: of the run.
        case: identifier of the test case.
        structure: name of the class or region.
        values: metric → value; NaN where it is not defined.
    """

    run: str
    dataset: str
    trainer: str
    seed: int | None
    fold: int
    size: int | Literal["all"]
    repeat: int
    case: str
    structure: str
    values: Mapping[str, float]
    plans: str = "nnUNetPlans"

    @classmethod
    def of(cls, run: Run, case: str, structure: str, values: Mapping[str, float]) -> Case:
        """The scores of a structure in a case of `run`."""
        known = (run.id, run.dataset, run.trainer, run.seed, run.fold, run.size, run.repeat)
        return cls(*known, case, structure, values, run.plans)


_CASE = ("run", "dataset", "plans", "trainer", "seed", "fold", "size", "repeat", "case", "structure")


def write_cases(results: Path, cases: Iterable[Case], metrics: Sequence[str]) -> None:
    """Write `cases.csv`: a row per structure of a case of a run, a column per metric; an empty cell is not defined."""
    rows = (
        [_cell(getattr(case, name)) for name in _CASE] + [_cell(case.values.get(metric, math.nan)) for metric in metrics]
        for case in cases
    )
    _write(results / CASES, [*_CASE, *metrics], rows)


def read_cases(results: Path) -> Iterator[Case]:
    """What `write_cases` wrote; numbers come back to the last bit.

    Raises:
        UserError: it does not exist, lacks a column, or a cell is no number.
    """
    advice = "nnunet_fess study evaluate FILE  writes it."
    for line, row in _rows(results / CASES, _CASE, advice):
        try:
            yield Case(
                run=row["run"],
                dataset=row["dataset"],
                plans=row["plans"],
                trainer=row["trainer"],
                seed=int(row["seed"]) if row["seed"] else None,
                fold=int(row["fold"]),
                size="all" if row["size"] == "all" else int(row["size"]),
                repeat=int(row["repeat"]),
                case=row["case"],
                structure=row["structure"],
                values={name: _score(value) for name, value in row.items() if name not in _CASE},
            )
        except ValueError as error:
            raise UserError(f"{results / CASES}, line {line}: {error}. {advice}") from error


def _score(text: str) -> float:
    value = float(text) if text else math.nan
    if math.isinf(value):
        raise ValueError(f"{text} is no score")
    return value


def write_patients(results: Path, patients: Mapping[str, str]) -> None:
    """Write `patients.csv`: whose the cases are, as far as it is known; cases of one patient are one sample."""
    _write(results / PATIENTS, ["case", "patient"], patients.items())


def read_patients(results: Path) -> dict[str, str]:
    """What `write_patients` wrote; nothing where it is not there.

    Raises:
        UserError: a case of nobody, or of two patients.
    """
    path, found = results / PATIENTS, dict[str, str]()
    if not path.is_file():
        return found
    advice = "nnunet_fess study run FILE  writes it."
    for line, row in _rows(path, ["case", "patient"], advice):
        case, patient = row["case"], row["patient"]
        if not case or not patient:
            raise UserError(f"{path}, line {line}: a case and its patient expected, found {case!r} and {patient!r}. {advice}")
        if found.setdefault(case, patient) != patient:
            raise UserError(f"{path}, line {line}: {case} is of {patient}, and of {found[case]} above. {advice}")
    return found


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _short(results: Path, path: Path) -> str:
    return path.relative_to(results).as_posix() if path.is_relative_to(results) else str(path)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    files.write_text(path, text.getvalue())


def _rows(path: Path, needed: Sequence[str], advice: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells of each row."""
    try:
        text = path.read_text("utf-8-sig", errors="surrogateescape")  # a spreadsheet may have put its mark in front
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist. {advice}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        lacking = [name for name in needed if name not in (reader.fieldnames or ())]
        if lacking:
            raise UserError(f"{path}: no column {', '.join(lacking)}; UTF-8 with commas between them is expected. {advice}")
        for row in reader:
            if None in row or None in row.values():
                there = sum(value is not None for name, value in row.items() if name is not None) + len(row.get(None, ()))
                columns = len(reader.fieldnames or ())
                raise UserError(f"{path}, line {reader.line_num}: {there} cells, {columns} expected. {advice}")
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}. {advice}") from error
