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
from dataset_conversion.doubts import absent_labels
from dataset_conversion.errors import ConversionError, table
from dataset_conversion.facts import LABEL, Dataset
from dataset_conversion.grouping import Member, folds, hold_out, refuse_few
from dataset_conversion.parallel import run
from dataset_conversion.places import refuse_full_disk, refuse_target
from dataset_conversion.sources import Case, Index, drop_overlap, index, keep_together, overlapping, resolve
from dataset_conversion.staging import remove_replaced, staged
from dataset_conversion.twins import twins
from dataset_conversion.write import Job, file_names, image_paths, write
from nnunet_fess.files import to_json, write_json
from nnunet_fess.folders import expanded, resolved

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

    @property
    def dropped(self) -> str:
        """The edition whose overlap is left out."""
        return self.overlap.removeprefix("drop-")


def convert(dataset: Dataset, sources: Sequence[str | Path], options: Options) -> Path:
    """Convert `sources`; returns the dataset folder (which `dry_run` does not make).

    Raises:
        UserError: anything that keeps the result from being complete and right; nothing is left behind then.
    """
    roots = resolve(sources)
    folder = resolved(options.raw) / f"Dataset{options.dataset_id:03d}_{dataset.title}"
    refuse_target(folder, roots, options.dataset_id, options.overwrite)
    found = index(roots, dataset, options.channels)
    if options.overlap != "group":
        drop_overlap(found, dataset.edition(options.dropped))
    _say(f"{dataset.title}: {len(found.cases)} scans of {found.patients()} patients")
    if not found.problems:
        refuse_few(_free(found.cases), options.test_fraction)  # told now, not after an hour of reading
    label_maps = dataset.label_maps(options.target)
    checked = _check(found, dataset, options, label_maps)
    found.warnings += absent_labels(dataset, checked)
    same = twins(checked, options.workers)
    fraction = options.test_fraction
    if same:
        checked, fraction = _without_leak(same, checked, found, options)
    for warning in found.warnings:
        _say(f"warning: {warning}")
    test, splits = _partition([result.case for result in checked], fraction, options.seed)
    chosen = {key: value for key, value in asdict(options).items() if key not in UNDECIDING}
    content = report.report(dataset, chosen, checked, test, found.warnings, found.problems, same)
    jobs = [
        Job(
            result,
            folder,
            "Ts" if result.case.scan.id in test else "Tr",
            options.channels,
            label_maps[result.case.scan.edition],
            options.transfer,
        )
        for result in checked
    ]
    _summarise(checked, test, splits)
    if options.dry_run:
        _say("dry run: nothing was written")
    elif folder.exists() and not options.overwrite:
        _refuse_difference(folder, content, jobs)
        remove_replaced(folder)
        _say(f"{folder} is already there, complete and made of the same files with the same options")
    else:
        _write_dataset(folder, dataset, options, jobs, splits, content)
    return folder


def _write_dataset(
    folder: Path,
    dataset: Dataset,
    options: Options,
    jobs: Sequence[Job],
    splits: list[dict[str, list[str]]],
    content: dict[str, Any],
) -> None:
    """Write everything into `folder`, whole or not at all, and say what comes next."""
    refuse_full_disk(folder, _needed(jobs))
    if not folder.parent.exists():
        _say(f"making {folder.parent}")
    target = dataset.targets[options.target]
    identity = hashlib.sha256(json.dumps([content, [job.checked.stamps() for job in jobs]]).encode()).hexdigest()
    with staged(folder, identity, _say) as staging:
        files = _write(staging, jobs, options.workers)
        write_json(staging / "splits_final.json", splits)
        write_json(staging / report.NAMES, report.names(dataset, options.target, [job.checked for job in jobs]))
        write_json(staging / report.REPORT, content)
        _verify(staging, files)
        referenced = {job.id: image_paths(job) for job in jobs if job.subset == "Tr"}
        images = referenced if options.transfer == "reference" else None
        description = report.dataset_json(dataset, target, options.channels, sorted(referenced), volumes.ENDING, images)
        write_json(staging / "dataset.json", description)
    _say(f"wrote {folder}")
    stale = expanded(os.environ.get("nnUNet_preprocessed") or folder / "-") / folder.name
    if stale.exists():
        _say(f"warning: {stale} holds data preprocessed from an earlier conversion: delete it, nnU-Net would use it")
    _say(f"next: nnUNetv2_plan_and_preprocess -d {options.dataset_id} --verify_dataset_integrity")


def _say(text: str) -> None:
    # a file name need not be text, nor stdout able to spell it: what cannot be printed is shown as bytes
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    print(text.encode(encoding, errors="backslashreplace").decode(encoding), flush=True)


def _check(found: Index, dataset: Dataset, options: Options, label_maps: dict[str, dict[int, int]]) -> list[Checked]:
    """The cases that can be written; `found.problems` then holds those of the cases that are left out.

    Raises:
        ConversionError: there are problems, and `on_error` is "stop".
    """
    reference = dataset.reference if dataset.reference in options.channels else options.channels[0]
    tasks = [Task(case, options.channels, reference, label_maps[case.scan.edition], options.sha256) for case in found.cases]
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
    # a problem of a patient (two strata) is found in the index and concerns cases that read well
    concerned = {problem.case for problem in found.problems}
    return [result for result in results if result.case.scan.id not in concerned]


def _without_leak(same: list[list[str]], checked: list[Checked], found: Index, options: Options) -> tuple[list[Checked], float]:
    """Keep cases with the same voxels together; returns the cases that are left and the share to hold out of them."""
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
        dropped = overlapping(cases, options.dropped)
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


def _free(cases: Sequence[Case]) -> list[Member]:
    """The labelled cases of patients of whom no scan without label will be predicted: those must not be trained on."""
    tested = {case.group for case in cases if not case.labelled}
    labelled = [case for case in cases if case.labelled and case.group not in tested]
    return [Member(case.scan.id, case.group, case.scan.stratum) for case in labelled]


def _partition(cases: Sequence[Case], fraction: float, seed: int) -> tuple[set[str], list[dict[str, list[str]]]]:
    """Ids of the test cases, and the folds of the others.

    Raises:
        ConversionError: too few patients.
    """
    free = _free(cases)
    held = hold_out(free, fraction, seed)
    training = [member for member in free if member.id not in held]
    return {case.scan.id for case in cases} - {member.id for member in training}, folds(training, seed)


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
        mine = json.loads(to_json(content))
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
