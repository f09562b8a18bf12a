"""Detect and index: which files lie under the SOURCE folders, and which role each plays in which scan.

Files are found by role, never by first match: two candidates for a role, or none, is a problem that lists them.
Nothing here opens a file.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath

from dataset_conversion.errors import ConversionError, NothingFoundError, Problem
from dataset_conversion.facts import LABEL, UNKNOWN, Dataset, Edition, Scan
from dataset_conversion.grouping import merged
from nnunet_fess.folders import resolved

ARCHIVES = (".zip", ".7z", ".tar", ".tgz", ".tar.gz", ".rar")
VOLUMES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd", ".img", ".dcm")


@dataclass(frozen=True)
class SourceFile:
    """One file: where it is, its name relative to the SOURCE it was found under, and which SOURCE that was."""

    path: Path
    relative: str
    root: int = 0


@dataclass
class Case:
    """One scan and the file of each role."""

    scan: Scan
    group: str
    files: dict[str, SourceFile]

    @property
    def labelled(self) -> bool:
        """Whether it has a reference segmentation."""
        return LABEL in self.files


@dataclass
class Index:
    """What the SOURCE folders hold: the usable cases, and everything that is wrong with the others."""

    cases: list[Case] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def patients(self) -> int:
        """Number of patients; in a group that cannot be told apart, those of its largest edition."""
        names: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for case in self.cases:
            names[case.group][case.scan.edition].add(case.scan.patient)
        return sum(max(map(len, editions.values())) for editions in names.values())


def resolve(sources: Sequence[str | Path]) -> list[Path]:
    """Absolute SOURCE folders.

    Raises:
        ConversionError: a SOURCE is missing, an archive, no folder, or lies in another one.
    """
    roots: list[Path] = []
    for source in sources:
        root = resolved(source)
        if not root.exists():
            raise ConversionError(f"SOURCE {source}: no such folder")
        if not root.is_dir():
            hint = "unpack it first and give the folder" if root.name.lower().endswith(ARCHIVES) else "give a folder"
            raise ConversionError(f"SOURCE {source}: is a file; {hint}")
        for other in roots:
            if root.is_relative_to(other) or other.is_relative_to(root):
                raise ConversionError(f"SOURCE {source}: the same files as SOURCE {other}; give each folder once")
        roots.append(root)
    return roots


def list_files(root: Path, on_problem: Callable[[Path, str], None], top: Path | None = None) -> Iterator[Path]:
    """Files under `root` in sorted order, hidden ones and those of macOS left out; linked folders are not entered."""
    top = top or root
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError as error:
        on_problem(root, f"cannot be listed: {error.strerror}")
        return
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from list_files(path, on_problem, top)
        elif entry.is_dir():
            if not path.resolve().is_relative_to(top):
                on_problem(path, f"is a link to the folder {path.resolve()}, which is not followed; give that as SOURCE")
        elif entry.is_file() or entry.is_symlink():  # reading a broken link will say so
            yield path


def index(roots: Sequence[Path], dataset: Dataset, channels: Sequence[str]) -> Index:
    """Every scan under `roots`, each role with exactly one file.

    Args:
        roots: what `resolve` returned.
        dataset: whose editions' files to look for.
        channels: the roles that are needed besides the label; files of other roles are not looked at.

    Raises:
        ConversionError: nothing of the dataset was found, or nothing with a label, or an edition is missing; or there are
            files that may not lie beside the dataset's.
    """
    result = Index()
    candidates: dict[str, dict[str, list[SourceFile]]] = defaultdict(lambda: defaultdict(list))
    scans: dict[str, Scan] = {}
    sections: dict[str, set[Path]] = defaultdict(set)
    others: list[str] = []
    linked: set[str] = set()
    refused = [(re.compile(foreign.pattern, re.IGNORECASE), foreign) for foreign in dataset.foreign if foreign.refused]
    for number, root in enumerate(roots):

        def unlisted(folder: Path, message: str, root: Path = root) -> None:
            result.problems.append(Problem("-", folder.relative_to(root).as_posix(), message))

        for path in list_files(root, unlisted):
            relative = path.relative_to(root).as_posix()
            inside = PurePath(root.name, relative)
            for pattern, foreign in refused:
                if pattern.search(inside.as_posix()):
                    raise ConversionError(f"{path}: is {foreign.is_}")
            known_to_us = False
            for edition in dataset.editions:
                if found := edition.match(inside):
                    known_to_us = True
                    scan, role = found
                    if path.is_symlink() and not path.resolve().is_relative_to(root):
                        message = f"is a link out of SOURCE, to {path.resolve()}; give the folder that really holds it"
                        result.problems.append(Problem(scan.id, relative, message))
                        linked.add(scan.id)
                    elif role in (*channels, LABEL):
                        known = scans.setdefault(scan.id, scan)
                        if known.name.lower() != scan.name.lower():
                            raise ConversionError(f"{known.name} and {scan.name} would both become case {scan.id}")
                        candidates[scan.id][role].append(SourceFile(path, relative, number))
                        sections[scan.id].add(_section(path, scan))
            if not known_to_us:
                others.append(inside.as_posix())
    _refuse_nothing(scans, dataset, roots, others)

    labelled_sections: set[Path] = set()
    in_parts = {edition.name for edition in dataset.editions if edition.in_parts}
    for id, files in candidates.items():
        if LABEL in files and scans[id].edition not in in_parts:
            labelled_sections |= sections[id]
    orphans = []
    for id in sorted(candidates):
        scan, files = scans[id], candidates[id]
        if sections[id] & labelled_sections:
            scan = replace(scan, needs_label=True)
        if scan.edition in in_parts and set(files) == {LABEL}:
            orphans.append(scan.name)
            continue
        problems = [] if id in linked else _incomplete(scan, files, channels)
        result.problems += problems
        if not problems and id not in linked:
            only = {role: found[0] for role, found in files.items()}
            result.cases.append(Case(scan, dataset.group(scan), only))
    _recognise(result.cases, dataset)
    _refuse_half(result, dataset, roots, orphans, others)
    if orphans:
        result.warnings.append(f"{len(orphans)} masks have no image and are left out: {_some(orphans)}")
    _check_strata(result, dataset)
    for edition in dataset.editions:
        labelled = [scans[id] for id, files in candidates.items() if LABEL in files]
        counts = Counter(scan.stratum for scan in labelled if scan.edition == edition.name)
        for stratum, expected in edition.expected.items():
            if counts[stratum] != expected:
                found_count = f"{counts[stratum]} labelled {stratum} scans found"
                result.warnings.append(f"{edition.title}: {found_count}, the complete download has {expected}")
    return result


def overlapping(cases: Sequence[Case], edition: str) -> set[str]:
    """Ids of the cases of `edition` whose group also has cases of another edition."""
    elsewhere = {case.group for case in cases if case.scan.edition != edition}
    return {case.scan.id for case in cases if case.scan.edition == edition and case.group in elsewhere}


def drop_overlap(found: Index, edition: Edition) -> None:
    """Leave out the scans of `edition` whose group also has scans of another edition."""
    dropped = overlapping(found.cases, edition.name)
    found.warnings.append(f"{len(dropped)} scans of {edition.title} left out: their patients have scans in the other edition")
    found.cases = [case for case in found.cases if case.scan.id not in dropped]


def keep_together(cases: Sequence[Case], sets: Iterable[Iterable[str]]) -> None:
    """Make the groups of the cases in each set one group, which keeps the name of the first of them."""
    groups = {case.scan.id: case.group for case in cases}
    names: dict[str, str] = {}
    for together in merged([groups[id] for id in ids] for ids in sets):
        first = min(together, key=lambda name: (UNKNOWN in name, name))
        names |= dict.fromkeys(together, first)
    for case in cases:
        case.group = names.get(case.group, case.group)


def _section(path: Path, scan: Scan) -> Path:
    """The folder that holds the scan's folders: everything above the first name that contains the scan's."""
    for position, part in enumerate(path.parts):
        if scan.name.lower() in part.lower():
            return Path(*path.parts[:position])
    return path.parent


def _incomplete(scan: Scan, files: dict[str, list[SourceFile]], channels: Sequence[str]) -> list[Problem]:
    """Roles of a scan without exactly one file."""
    problems = []
    for role in (*channels, LABEL):
        found = files.get(role, [])
        if len(found) > 1:
            listed = ", ".join(file.relative for file in found)
            message = f"{len(found)} candidates for {role}: {listed}; keep one in SOURCE"
            problems.append(Problem(scan.id, found[0].relative, message))
        elif not found and (role != LABEL or scan.needs_label):
            others = ", ".join(sorted(files)) or "nothing"
            message = f"no file for {role} (found: {others}); complete the download or use --on-error skip"
            problems.append(Problem(scan.id, str(PurePosixPath(next(iter(files.values()))[0].relative).parent), message))
    return problems


def _check_strata(index: Index, dataset: Dataset) -> None:
    """One patient has one stratum, or its key does not mean what we think; over several editions it must be known."""
    strata: dict[str, dict[str, str]] = defaultdict(dict)
    for case in index.cases:
        if case.labelled and case.scan.stratum != UNKNOWN:
            strata[case.scan.patient][case.scan.stratum] = case.scan.id
    for case in index.cases if len(dataset.editions) > 1 else ():
        if case.labelled and case.scan.stratum == UNKNOWN:
            file = next(iter(case.files.values())).relative
            index.problems.append(Problem(case.scan.id, file, dataset.strata.missing))
    for patient, found in sorted(strata.items()):
        if len(found) > 1:
            listed = ", ".join(f"{stratum} ({id})" for stratum, id in sorted(found.items()))
            message = f"patient {patient} has two {dataset.strata.plural}: {listed}; keep one of them"
            index.problems += [Problem(id, "-", message) for id in found.values()]


def _recognise(cases: list[Case], dataset: Dataset) -> None:
    """Give scans whose names leave open which patient they are of to a patient who is there, and keep all of these together."""
    known = {case.scan.patient: case for case in cases if not case.scan.maybe}
    together = []
    for case in cases:
        candidates = [known[patient] for patient in case.scan.maybe if patient in known]
        if candidates:
            case.scan = replace(case.scan, patient=candidates[0].scan.patient)
            case.group = dataset.group(case.scan)
            together.append([case.scan.id, *(other.scan.id for other in candidates)])
    keep_together(cases, together)


def _refuse_nothing(scans: dict[str, Scan], dataset: Dataset, roots: Sequence[Path], others: Sequence[str]) -> None:
    """Say what is missing when an edition was not found."""
    present = {scan.edition for scan in scans.values()}
    for edition in dataset.editions:
        if edition.name not in present:
            where = ", ".join(map(str, roots))
            raise NothingFoundError(f"no {edition.title} file found under {where}{_wanted(dataset, edition.name, others)}")


def _refuse_half(index: Index, dataset: Dataset, roots: Sequence[Path], orphans: Sequence[str], others: Sequence[str]) -> None:
    """Say what is missing when there are only labels, or only images."""
    where = ", ".join(map(str, roots))
    if index.problems or any(case.labelled for case in index.cases):
        return
    wanted = _wanted(dataset, dataset.editions[0].name, others)
    if orphans:
        raise NothingFoundError(
            f"no image found under {where}, only {len(orphans)} masks ({_some(orphans)}): the name tells an image from a "
            f"mask. Give the images' folder as another SOURCE{wanted}"
        )
    if index.cases:
        names = _some([case.scan.name for case in index.cases])
        raise NothingFoundError(
            f"no scan with a label found under {where}, only {len(index.cases)} without ({names}): there is nothing to train "
            f"on. Give the folder that has labels, too, as another SOURCE{wanted}"
        )


def _wanted(dataset: Dataset, edition: str, others: Sequence[str]) -> str:
    """What file names are wanted, and what is there in their place (`others`: paths with the SOURCE folder's name first)."""
    example = dataset.edition(edition).example
    shown = [name.partition("/")[2] for name in others]
    volumes = [name for name in shown if name.lower().endswith(VOLUMES)]
    archives = [name for name in shown if name.lower().endswith(ARCHIVES)]
    text = f". Wanted: {example}. There: "
    text += f"{len(others)} other files, such as {', '.join((volumes or shown)[:2])}" if others else "no other file"
    for foreign in dataset.foreign:
        if any(re.search(foreign.pattern, name, re.IGNORECASE) for name in others):
            text += f"; it holds {foreign.is_}"
            break
    return text + (f"; unpack first: {_some(archives)}" if archives else "")


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")
