"""One path for every dataset: detect → index → check → write → verify.

Nothing is written before every case was read and judged, and then all at once or not at all (`staging`).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataset_conversion import report, volumes
from dataset_conversion.check import Checked, Task, check
from dataset_conversion.errors import ConversionError, table
from dataset_conversion.facts import LABEL, Dataset
from dataset_conversion.grouping import Member, folds, hold_out
from dataset_conversion.parallel import run
from dataset_conversion.places import refuse_full_disk, refuse_target
from dataset_conversion.sources import Case, Index, drop_overlap, index, overlapping, resolve
from dataset_conversion.staging import remove_replaced, staged
from dataset_conversion.twins import keep_together, twins
from dataset_conversion.write import Job, file_names, image_paths, write

UNDECIDING = ("raw", "workers", "dry_run", "overwrite")  # options that say how, not what
DIFFERS_IN_VOXELS = ("dataset", "options", "cases", "skipped")


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
        overlap: "group" keeps patients of several editions together, "drop-<edition>" leaves out theirs in one edition.
        transfer: how images that need no repair get there: "copy", "hardlink", "symlink", "reference".
        on_error: "stop", or "skip" to leave out the cases that have problems.
        sha256: record it for every source file.
        dry_run: check only.
        overwrite: replace an existing dataset.
    """

    dataset_id: int
    raw: Path
    target: str
    channels: tuple[str, ...]
    test_fraction: float = 0.2
    seed: int = 0
    workers: int = 1
    overlap: str = "group"
    transfer: str = "copy"
    on_error: str = "stop"
    sha256: bool = False
    dry_run: bool = False
    overwrite: bool = False


def convert(dataset: Dataset, sources: Sequence[str | Path], options: Options) -> Path:
    """Convert `sources`; returns the dataset folder (which `dry_run` does not make).

    Raises:
        ConversionError: anything that keeps the result from being complete and right; nothing is left behind then.
    """
    roots = resolve(sources)
    folder = options.raw.expanduser().resolve() / f"Dataset{options.dataset_id:03d}_{dataset.title}"
    refuse_target(folder, roots, options.dataset_id, options.overwrite)
    found = index(roots, dataset, options.channels)
    if options.overlap != "group":
        drop_overlap(found, options.overlap.removeprefix("drop-"))
    _say(f"{dataset.title}: {len(found.cases)} scans of {found.patients()} patients")
    checked = _check(found, dataset, options)
    found.warnings += _absent_labels(dataset, checked)
    same = twins(checked, options.workers)
    checked, fraction = _without_leak(same, checked, found, options)
    for warning in found.warnings:
        _say(f"warning: {warning}")
    test, splits = _partition([result.case for result in checked], options, fraction)
    chosen = {key: value for key, value in asdict(options).items() if key not in UNDECIDING}
    content = report.report(dataset, chosen, checked, test, found.warnings, found.problems, same)
    jobs = [
        Job(
            result,
            folder,
            "Ts" if result.case.scan.id in test else "Tr",
            options.channels,
            _label_map(dataset, options, result.case),
            options.transfer,
        )
        for result in checked
    ]
    _summarise(checked, test, splits)
    if options.dry_run:
        _say("dry run: nothing was written")
        return folder
    if folder.exists() and not options.overwrite:
        _refuse_difference(folder, content, jobs)
        remove_replaced(folder)
        _say(f"{folder} is already there, complete and made of the same files with the same options")
        return folder
    refuse_full_disk(folder, _needed(jobs))
    if not folder.parent.exists():
        _say(f"making {folder.parent}")
    identity = hashlib.sha256(json.dumps([content, [job.checked.stamps() for job in jobs]]).encode()).hexdigest()
    with staged(folder, identity, _say) as staging:
        files = _write(staging, jobs, options.workers)
        report.write_json(staging / "splits_final.json", splits)
        report.write_json(staging / report.NAMES, report.names(dataset, dataset.targets[options.target], checked))
        report.write_json(staging / report.REPORT, content)
        _verify(staging, files)
        referenced = {job.id: image_paths(job) for job in jobs if job.subset == "Tr"}
        description = report.dataset_json(
            dataset,
            dataset.targets[options.target],
            options.channels,
            sorted(referenced),
            volumes.ENDING,
            referenced if options.transfer == "reference" else None,
        )
        report.write_json(staging / "dataset.json", description)
    _say(f"wrote {folder}")
    stale = Path(os.environ.get("nnUNet_preprocessed") or folder / "-").expanduser() / folder.name
    if stale.exists():
        _say(f"warning: {stale} holds data preprocessed from an earlier conversion: delete it, nnU-Net would use it")
    _say(f"next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} --verify_dataset_integrity")
    return folder


def _say(text: str) -> None:
    # a file name need not be text: what cannot be printed is shown as bytes
    print(text.encode(errors="backslashreplace").decode(), flush=True)


def _label_map(dataset: Dataset, options: Options, case: Case) -> dict[int, int]:
    """Label value in the file → value to write."""
    (edition,) = (edition for edition in dataset.editions if edition.name == case.scan.edition)
    collapse = dataset.targets[options.target].collapse
    return {value: collapse[harmonised] for value, harmonised in edition.labels.items()}


def _check(found: Index, dataset: Dataset, options: Options) -> list[Checked]:
    """The cases that can be written; `found.problems` then holds those of the cases that are left out.

    Raises:
        ConversionError: there are problems, and `on_error` is "stop".
    """
    if not found.problems:
        _partition(found.cases, options)  # too few patients are told now, not after an hour of reading
    reference = dataset.reference if dataset.reference in options.channels else options.channels[0]
    tasks = [
        Task(case, options.channels, reference, _label_map(dataset, options, case), options.sha256) for case in found.cases
    ]
    results = sorted(run(check, tasks, options.workers, "check"), key=lambda result: result.case.scan.id)
    for result in results:
        found.problems += result.problems
    if found.problems:
        print(table(found.problems), file=sys.stderr)
        cases = {problem.case for problem in found.problems}
        summary = f"{len(found.problems)} problem(s) in {len(cases)} case(s)"
        if options.on_error == "stop":
            raise ConversionError(f"{summary}; nothing was written. Repair them, or leave these cases out with --on-error skip")
        _say(f"{summary}: left out")
    # a problem of a patient (two grades) is found in the index and concerns cases that read well
    concerned = {problem.case for problem in found.problems}
    return [result for result in results if result.case.scan.id not in concerned]


def _partition(
    cases: Sequence[Case], options: Options, fraction: float | None = None
) -> tuple[set[str], list[dict[str, list[str]]]]:
    """Ids of the test cases, and the folds of the others.

    Raises:
        ConversionError: too few patients.
    """
    unlabelled = [case for case in cases if not case.labelled]
    # a patient of whom a scan without label will be predicted must not be trained on
    tested = {case.group for case in unlabelled}
    members = [Member(case.scan.id, case.group, case.scan.stratum) for case in cases if case.labelled]
    free = [member for member in members if member.group not in tested]
    test = {member.id for member in members if member.group in tested} | {case.scan.id for case in unlabelled}
    test |= hold_out(free, options.test_fraction if fraction is None else fraction, options.seed)
    return test, folds([member for member in free if member.id not in test], options.seed)


def _absent_labels(dataset: Dataset, checked: Sequence[Checked]) -> list[str]:
    """A warning for each label value that the download must have somewhere and that no case has."""
    warnings = []
    for edition in dataset.editions:
        labelled = [result for result in checked if result.case.labelled and result.case.scan.edition == edition.name]
        present = {value for result in labelled for value in result.values}
        absent = sorted(set(edition.labels) - present - {0})
        if labelled and absent:
            listed = ", ".join(f"{value} ({_class(dataset, edition.labels[value])})" for value in absent)
            there = ", ".join(map(str, sorted(present - {0})))
            warnings.append(
                f"{edition.title}: none of {len(labelled)} labels has value {listed}, which the complete download has; there "
                f"are {there}. If this copy's labels were changed ({absent[-1]} to another one, say), classes are mixed up "
                "here: compare with the original"
            )
    return warnings


def _class(dataset: Dataset, harmonised: int) -> str:
    """What a harmonised class is called."""
    for target in dataset.targets.values():
        for name, value in target.labels.items():
            if [cls for cls, written in target.collapse.items() if written == value] == [harmonised]:
                return name
    return f"class {harmonised}"


def _without_leak(same: list[list[str]], checked: list[Checked], found: Index, options: Options) -> tuple[list[Checked], float]:
    """Keep cases with the same voxels together; returns the cases that are left and the share to hold out of them."""
    if not same:
        return checked, options.test_fraction
    cases = [result.case for result in checked]
    groups = {case.scan.id: case.group for case in cases}
    for ids in same:
        known = len({groups[id] for id in ids}) == 1
        found.warnings.append(
            f"{', '.join(ids)} have the same voxels"
            + ("; their names say that they are one patient's" if known else ": one patient under several names, kept together")
        )
    keep_together(cases, same)
    if options.overlap != "group":
        dropped = {case.scan.id for case in overlapping(cases, options.overlap.removeprefix("drop-"))}
        if dropped:
            found.warnings.append(
                f"left out, because their patients have scans in the other edition: {', '.join(sorted(dropped))}"
            )
        checked = [result for result in checked if result.case.scan.id not in dropped]
    left = {result.case.group for result in checked if result.case.labelled}
    if options.test_fraction and len(left) == 2 < len({groups[case.scan.id] for case in cases if case.labelled}):
        found.warnings.append("only 2 patients are left once the same voxels are the same patient: no test set is held out")
        return checked, 0.0
    return checked, options.test_fraction


def _summarise(checked: Sequence[Checked], test: set[str], splits: list[dict[str, list[str]]]) -> None:
    for result in checked:
        for warning in result.warnings:
            _say(f"warning: {result.case.scan.id}: {warning}")
    changes = Counter(change for result in checked for change in result.changes)
    for change, number in sorted(changes.items()):
        _say(f"changed in {number} case(s): {change}")
    labelled = sum(LABEL in result.files for result in checked if result.case.scan.id in test)
    training = len(checked) - len(test)
    _say(f"{training} training cases in {len(splits)} folds, {len(test)} test cases ({labelled} with label)")


def _refuse_difference(folder: Path, content: dict[str, Any], jobs: Sequence[Job]) -> None:
    """Raise unless `folder` is what this run would write."""
    advice = "use --overwrite to replace it, or another id with -d"
    try:
        there = json.loads((folder / report.REPORT).read_text())
        mine = json.loads(report.to_json(content))
    except (OSError, ValueError) as error:
        raise ConversionError(f"{folder} exists and has no readable {report.REPORT}; {advice}") from error
    for key in DIFFERS_IN_VOXELS:
        if there.get(key) != mine[key]:
            before, now = there.get(key) or {}, mine[key]
            detail = ""
            if isinstance(before, dict) and isinstance(now, dict):
                names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
                detail = f" ({', '.join(names[:5])}{' …' if len(names) > 5 else ''})"
            raise ConversionError(f"{folder} exists and was made with other {key}{detail}; {advice}")
    names = ["dataset.json", "splits_final.json", *(name for job in jobs for name in file_names(job))]
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise ConversionError(f"{folder} exists but {missing[0]} is missing ({len(missing)} in all); {advice}")


def _needed(jobs: Sequence[Job]) -> int:
    """Bytes that will be written; images that are rewritten are counted as large as they were."""
    return sum(file.size for job in jobs for file in job.checked.files.values() if job.transfer == "copy" or not file.as_is)


def _write(staging: Path, jobs: Sequence[Job], workers: int) -> dict[str, int]:
    """Write all cases; returns file name → size."""
    for name in {Path(name).parent for job in jobs for name in file_names(job)}:
        (staging / name).mkdir(exist_ok=True)
    files: dict[str, int] = {}
    failed = []
    for written in run(write, [job.into(staging) for job in jobs], workers, "write"):
        files |= written.sizes
        if written.problem:
            failed.append(written.problem)
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
