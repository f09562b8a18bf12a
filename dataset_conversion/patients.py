r"""Who is whose patient in a dataset that our converter did not make: a table says so, or the cases' names do.

Names that look as if patients had several cases (``patient001_ED``, ``patient001_ES``) are recognised, not interpreted: which
part of a name is the patient only its owner knows.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_conversion.errors import ConversionError
from dataset_conversion.grouping import Member

COLUMNS = ("case", "patient", "stratum")
# The last part of a name: behind a separator, or letters behind a digit, as in 012L.
LAST_PART = re.compile(r"(.+?)(?:[_\-. ]+|(?<=\d)(?=[A-Za-z]))([^_\-. ]+)$")
FIRST_PART = re.compile(
    r"(?:ED|ES|pre|post|L|R|left|right|baseline|follow-?up|FU\d*|(?:t|v|tp|visit|ses|scan)-?\d+)[_\-. ]+(.+)$", re.IGNORECASE
)
SUBJECT = re.compile(r"(sub-[A-Za-z0-9]+)_", re.IGNORECASE)  # BIDS


@dataclass(frozen=True)
class Who:
    r"""How it is told which patient a case is of; one of the two.

    Attributes:
        table: a CSV file with the columns case, patient and, if splits are to be balanced by it, stratum.
        pattern: a regular expression that finds the patient in a case's name: its group ``patient``, else its first group,
            else all that it matches.

    Example:
        >>> [member.group for member in Who(pattern=r"patient\d+").members(["patient001_ED", "patient001_ES", "patient002_ED"])]
        ['patient001', 'patient001', 'patient002']
    """

    table: Path | None = None
    pattern: str | None = None

    def members(self, ids: Sequence[str]) -> list[Member]:
        """The cases with their patients and strata.

        Raises:
            ConversionError: the table or the pattern does not say it of every case.
        """
        return _from_table(self.table, ids) if self.table else _from_pattern(self.pattern or "", ids)


def _from_table(path: Path, ids: Sequence[str]) -> list[Member]:
    found: dict[str, tuple[str, str]] = {}
    for line, case, patient, stratum in _rows(path):
        if found.setdefault(case, (patient, stratum)) != (patient, stratum):
            raise ConversionError(f"{path}, line {line}: case {case} is of patient {patient}, above of {found[case][0]}")
    missing = sorted(set(ids) - set(found))
    if missing:
        there, verb = ", ".join(sorted(found)[:3]) or "none", "is" if len(missing) == 1 else "are"
        raise ConversionError(
            f"{path} does not say whose {_some(missing)} {verb}; it has {len(found)} cases, such as {there}. "
            "A row for each case of the dataset is wanted, under nnU-Net's name without _0000 and ending"
        )
    return [Member(id, *found[id]) for id in ids]


def _rows(path: Path) -> Iterable[tuple[int, str, str, str]]:
    """Line number, case, patient, stratum of each row."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel's mark at the beginning is none of the header's
    except UnicodeDecodeError as error:
        raise ConversionError(
            f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}). Save it as CSV, UTF-8"
        ) from error
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}") from error
    lines = text.splitlines()
    header = lines[0] if lines else ""
    separator = max(",;\t", key=header.count)
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=separator), [])]
    if not {"case", "patient"} <= set(names):
        raise ConversionError(
            f"{path}, line 1: columns case and patient (and stratum, if any) expected, found {', '.join(names) or 'nothing'}"
        )
    places = [names.index(column) if column in names else None for column in COLUMNS]
    for line, row in enumerate(csv.reader(lines[1:], delimiter=separator), start=2):
        if any(cell.strip() for cell in row):
            case, patient, stratum = (row[place].strip() if place is not None and place < len(row) else "" for place in places)
            if not case or not patient:
                raise ConversionError(f"{path}, line {line}: a case and its patient expected, found {separator.join(row)!r}")
            yield line, case, patient, stratum


def _from_pattern(pattern: str, ids: Sequence[str]) -> list[Member]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConversionError(f"--patient-regex {pattern}: is no regular expression ({error})") from error
    members, missing = [], []
    for id in ids:
        found = compiled.search(id)
        patient = found and (found["patient"] if "patient" in compiled.groupindex else found[1 if compiled.groups else 0])
        if patient:
            members.append(Member(id, patient, ""))
        else:
            missing.append(id)
    if missing:
        raise ConversionError(f"--patient-regex {pattern}: finds no patient in {_some(sorted(missing))}")
    return members


def paired(ids: Collection[str]) -> tuple[str, ...]:
    """Cases that look like one patient's: an example, or none.

    Names that differ in their last part only are a patient's where that part takes few values and is not a running number:
    ``hippocampus_001`` has no siblings of this kind, nor has ``siteA_001`` beside ``siteB_001``. What all names end with, as
    ``_T1w``, is no part of them; ``sub-``, as BIDS has it, is a patient.
    """
    tail = _common_tail(ids)
    return _sharing(SUBJECT, ids) or tuple(name + tail for name in _paired({id.removesuffix(tail) for id in ids}))


def _common_tail(ids: Collection[str]) -> str:
    """What all names end with, from a separator on."""
    shared = os.path.commonprefix([id[::-1] for id in ids])[::-1]  # noqa: RUF071 - the letters count, a separator is looked for below
    found = re.search(r"[_\-. ].*", shared)
    return found[0] if found else ""


def _sharing(part: re.Pattern[str], ids: Collection[str]) -> tuple[str, ...]:
    """Two names in which a pattern finds the same, or none."""
    cases: dict[str, list[str]] = defaultdict(list)
    for id in sorted(ids):
        if found := part.match(id):
            cases[found[1].lower()].append(id)
    return next((tuple(found[:2]) for found in cases.values() if len(found) > 1), ())


def _paired(ids: Collection[str]) -> tuple[str, ...]:
    stems, suffixes = _by_stem(ids)
    several = {stem: cases for stem, cases in stems.items() if len(cases) > 1}
    numbered = len(stems) > 2 and all(stem[-1].isdigit() for stem in several)
    if several and len(stems) > 1 and (len(stems) > len(suffixes) or numbered):
        return tuple(sorted(min(several.values()))[:2])
    return _sharing(FIRST_PART, ids)


def refuse_paired(ids: Collection[str], name: str) -> None:
    """Refuse to draw where patients seem to have several cases and nothing says which.

    Raises:
        ConversionError: with an example and what to give.
    """
    example = paired(ids)
    if not example:
        return
    pattern = _suggested(example, ids)
    hint = f" such as --patient-regex '{pattern}'" if pattern else ""
    raise ConversionError(
        f"{name}: {' and '.join(example)} look like one patient's, who would be in training and validation at once. Say who is "
        f"whose, by --patients FILE.csv (columns case, patient and, if any, stratum) or --patient-regex{hint}; if each case is "
        "a patient of its own,  --patient-regex '.+'"
    )


def _suggested(example: Sequence[str], ids: Collection[str]) -> str:
    """The longest beginning of two names that is a pattern for all, with several patients and each of them whole; or none."""
    stem, other = example
    while found := LAST_PART.match(stem):
        stem = found[1]
        pattern = re.sub(r"\d+", r"\\d+", re.escape(stem))
        matches = [re.search(pattern, id) for id in ids]
        patients = {match[0] for match in matches if match}
        if other.startswith(stem) and all(matches) and len(patients) > 1 and not paired(patients):
            return pattern
    return ""


def _by_stem(ids: Collection[str]) -> tuple[dict[str, list[str]], set[str]]:
    stems: dict[str, list[str]] = defaultdict(list)
    suffixes = set()
    for id in ids:
        if found := LAST_PART.match(id):
            stems[found[1].lower()].append(id)
            suffixes.add(found[2])
    return stems, suffixes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
