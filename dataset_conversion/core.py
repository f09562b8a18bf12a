"""One path for every dataset: detect → index → check → write → verify.

Nothing is written before every case was read and judged. Then everything goes to a hidden folder beside the target,
`dataset.json` last, which is renamed when it is complete: the target exists whole or not at all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_conversion import report, volumes
from dataset_conversion.check import Checked, Task, check
from dataset_conversion.errors import ConversionError, Problem, table
from dataset_conversion.facts import Dataset
from dataset_conversion.grouping import Member, folds, hold_out
from dataset_conversion.parallel import run
from dataset_conversion.sources import Case, Index, index, resolve
from dataset_conversion.write import Job, write

try:
    import fcntl
except ImportError:  # Windows: two conversions of one dataset at a time are then not noticed
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        dataset_id: XXX of `DatasetXXX_Name`.
        raw: nnU-Net's raw folder.
        target: key of `Dataset.targets`.
        channels: roles in channel order.
        test_fraction: share of the labelled cases that is held out, as whole patients.
        seed: of the test set and the folds.
        workers: processes.
        dry_run: check only.
        on_error: "stop", or "skip" to leave out the cases that have problems.
        overwrite: replace an existing dataset.
    """

    dataset_id: int
    raw: Path
    target: str
    channels: tuple[str, ...]
    test_fraction: float
    seed: int
    workers: int
    dry_run: bool = False
    on_error: str = "stop"
    overwrite: bool = False


def convert(dataset: Dataset, sources: Sequence[str | Path], options: Options) -> Path:
    """Convert `sources`; returns the dataset folder (which `dry_run` does not make).

    Raises:
        ConversionError: anything that keeps the result from being complete and right; nothing is left behind then.
    """
    roots = resolve(sources)
    folder = options.raw.expanduser().resolve() / f"Dataset{options.dataset_id:03d}_{dataset.title}"
    _refuse_target(folder, roots, options)
    found = index(roots, dataset, options.channels)
    _say(f"{dataset.title}: {len(found.cases)} scans of {found.patients()} patients")
    checked = _check(found, dataset, options)
    test, splits = _partition([result.case for result in checked], options)
    chosen = dataset.targets[options.target]
    content = report.report(dataset, _deciding(options), checked, test, found.warnings, found.problems)
    _summarise(found, checked, test, splits)
    if options.dry_run:
        _say("dry run: nothing was written")
        return folder
    with _staging(folder) as staging:
        files = _write(staging, dataset, checked, test, options)
        report.write_json(staging / "splits_final.json", splits)
        report.write_json(staging / report.NAMES, report.names(dataset, chosen, checked))
        report.write_json(staging / report.REPORT, content)
        _verify(staging, files)
        description = report.dataset_json(dataset, chosen, options.channels, checked, test, volumes.ENDING)
        report.write_json(staging / "dataset.json", description)
        staging.rename(folder)
    _say(f"wrote {folder}\nnext: nnUNetv2_plan_and_preprocess -d {options.dataset_id} --verify_dataset_integrity")
    return folder


def _say(text: str) -> None:
    print(text, flush=True)


def _deciding(options: Options) -> dict[str, Any]:
    """The options that decide the result; how it came about (workers) does not."""
    return {
        "dataset_id": options.dataset_id,
        "target": options.target,
        "channels": list(options.channels),
        "test_fraction": options.test_fraction,
        "seed": options.seed,
        "on_error": options.on_error,
    }


def _refuse_target(folder: Path, roots: Sequence[Path], options: Options) -> None:
    for root in roots:
        if folder.is_relative_to(root):
            raise ConversionError(f"the dataset would be written to {folder}, inside SOURCE {root}; choose another --raw")
    prefix = f"Dataset{options.dataset_id:03d}_"
    others = (os.environ.get(name) for name in ("nnUNet_preprocessed", "nnUNet_results"))
    for place in (folder.parent, *(Path(other) for other in others if other)):
        for other in sorted(place.glob(prefix + "*")):
            if other.name != folder.name:
                raise ConversionError(f"dataset id {options.dataset_id} is taken by {other}; choose another one with -d")
    if folder.exists() and not options.overwrite and not options.dry_run:
        raise ConversionError(f"{folder} exists; remove it or choose another id with -d")


def _check(found: Index, dataset: Dataset, options: Options) -> list[Checked]:
    """The cases that can be written; `found.problems` then holds those of the cases that are left out."""
    editions = {edition.name: edition for edition in dataset.editions}
    collapse = dataset.targets[options.target].collapse
    reference = dataset.reference if dataset.reference in options.channels else options.channels[0]
    tasks = [
        Task(
            case,
            options.channels,
            reference,
            {value: collapse[label] for value, label in editions[case.scan.edition].labels.items()},
            dataset.ct,
            sha256=False,
        )
        for case in found.cases
    ]
    results = sorted(run(check, tasks, options.workers, "check"), key=lambda result: result.case.scan.id)
    for result in results:
        found.problems += result.problems
    if found.problems:
        print(table(found.problems), file=sys.stderr)
        cases = {problem.case for problem in found.problems}
        summary = f"{len(found.problems)} problem(s) in {len(cases)} case(s)"
        if options.on_error == "stop":
            raise ConversionError(f"{summary}; nothing was written")
        _say(f"{summary}: left out")
    # a problem of a patient (two grades) is found in the index and concerns cases that read well
    concerned = {problem.case for problem in found.problems}
    return [result for result in results if result.case.scan.id not in concerned]


def _partition(cases: Sequence[Case], options: Options) -> tuple[set[str], list[dict[str, list[str]]]]:
    """Ids of the test cases, and the folds of the others."""
    unlabelled = [case for case in cases if not case.labelled]
    # a patient of whom a scan without label will be predicted must not be trained on
    tested = {case.group for case in unlabelled}
    members = [Member(case.scan.id, case.group, case.scan.stratum) for case in cases if case.labelled]
    free = [member for member in members if member.group not in tested]
    test = {member.id for member in members if member.group in tested} | {case.scan.id for case in unlabelled}
    test |= hold_out(free, options.test_fraction, options.seed)
    return test, folds([member for member in free if member.id not in test], options.seed)


def _summarise(found: Index, checked: Sequence[Checked], test: set[str], splits: list[dict[str, list[str]]]) -> None:
    for warning in found.warnings:
        _say(f"warning: {warning}")
    for result in checked:
        for warning in result.warnings:
            _say(f"warning: {result.case.scan.id}: {warning}")
    changes = Counter(change for result in checked for change in result.changes)
    for change, number in sorted(changes.items()):
        _say(f"changed in {number} case(s): {change}")
    labelled = sum(result.case.labelled for result in checked if result.case.scan.id in test)
    _say(f"{len(checked) - len(test)} training cases in {len(splits)} folds, {len(test)} test cases ({labelled} with label)")


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """The hidden folder beside the target; removed unless it was renamed, kept when the process is killed."""
    staging = folder.with_name(f".{folder.name}.partial")
    staging.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(staging, os.O_RDONLY) if fcntl else None
    try:
        if descriptor is not None:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConversionError(f"{folder.name} is being written by another process; wait for it") from error
        try:
            yield staging
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _write(staging: Path, dataset: Dataset, checked: Sequence[Checked], test: set[str], options: Options) -> dict[str, int]:
    """Write all cases; returns file name → size."""
    editions = {edition.name: edition for edition in dataset.editions}
    collapse = dataset.targets[options.target].collapse
    jobs = []
    for result in checked:
        subset = "Ts" if result.case.scan.id in test else "Tr"
        for kind in ("images", "labels") if result.case.labelled else ("images",):
            (staging / f"{kind}{subset}").mkdir(exist_ok=True)
        labels = {value: collapse[label] for value, label in editions[result.case.scan.edition].labels.items()}
        jobs.append(Job(result, staging, subset, options.channels, labels))
    files: dict[str, int] = {}
    failed = []
    for written in run(write, jobs, options.workers, "write"):
        files |= written.sizes
        if written.error:
            failed.append(Problem(written.id, *written.error.split(": ", 1)))
            if written.fatal:
                break
    if failed:
        print(table(failed), file=sys.stderr)
        raise ConversionError(f"{len(failed)} case(s) could not be written; nothing was kept")
    return files


def _verify(staging: Path, files: dict[str, int]) -> None:
    """What lies there is what was written."""
    found = {
        path.relative_to(staging).as_posix(): path.stat().st_size
        for kind in ("images", "labels")
        for subset in ("Tr", "Ts")
        for path in (staging / f"{kind}{subset}").glob("*")
    }
    if found != files:
        wrong = sorted(name for name in found.keys() | files.keys() if found.get(name) != files.get(name))
        raise ConversionError(f"{len(wrong)} files are not as they were written, the first is {wrong[0]}")


__all__ = ["Options", "Problem", "convert"]
