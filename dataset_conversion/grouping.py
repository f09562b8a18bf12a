"""Splits that keep each group (a patient) on one side, balance strata (grades) and depend on a seed alone.

Groups are drawn in the order of a hash of seed and group name, so that a draw is the same on each machine and with
each library version, and a case more or less does not reshuffle the others.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dataset_conversion.errors import ConversionError


class Member(NamedTuple):
    """One case in a split: its id, the group that stays together, the stratum to balance."""

    id: str
    group: str
    stratum: str


class Group(NamedTuple):
    """All cases of one group; its stratum is that of most of its cases."""

    name: str
    stratum: str
    ids: tuple[str, ...]


def merged(sets: Iterable[Iterable[str]]) -> list[set[str]]:
    """The same names in sets that have none in common: those that shared one became one."""
    result: list[set[str]] = []
    for names in map(set, sets):
        joined = [other for other in result if other & names]
        result = [other for other in result if not other & names]
        result.append(names.union(*joined))
    return result


def drawn(members: Iterable[Member], seed: int) -> dict[str, list[Group]]:
    """Stratum → its groups in the order in which `seed` draws them."""
    by_group: dict[str, list[Member]] = defaultdict(list)
    for member in sorted(members):
        by_group[member.group].append(member)
    strata: dict[str, list[Group]] = defaultdict(list)
    for name in sorted(by_group, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest()):
        counts = Counter(member.stratum for member in by_group[name])
        stratum = min(counts, key=lambda stratum: (-counts[stratum], stratum))
        strata[stratum].append(Group(name, stratum, tuple(member.id for member in by_group[name])))
    return {stratum: strata[stratum] for stratum in sorted(strata)}


def refuse_few(members: Sequence[Member], fraction: float) -> None:
    """Refuse fewer groups than training, validation and, if `fraction` of the cases is held out, a test set need.

    Raises:
        ConversionError: fewer than three, or two.
    """
    total = len({member.group for member in members})
    if fraction and total < 3:
        raise ConversionError(
            f"{total} patient(s) with label: a test set besides training and validation needs at least 3; "
            "use --test-fraction 0 or add patients"
        )
    if total < 2:
        raise ConversionError(f"{total} patient(s) left for training: training and validation need at least 2; add patients")


def hold_out(members: Sequence[Member], fraction: float, seed: int) -> set[str]:
    """Ids of a test set: whole groups, about `fraction` of the cases of each stratum.

    Raises:
        ConversionError: fewer than three groups, as the test set needs one and training and validation one each.
    """
    if fraction == 0:
        return set()
    refuse_few(members, fraction)
    strata = drawn(members, seed)
    chosen: list[Group] = []
    for groups in strata.values():
        missing = fraction * sum(len(group.ids) for group in groups)
        for group in groups:
            if len(group.ids) <= 2 * missing:  # taking it leaves the count no further from the wanted one
                chosen.append(group)
                missing -= len(group.ids)
    everyone = [group for groups in strata.values() for group in groups]
    if not chosen:
        chosen = [min(everyone, key=lambda group: len(group.ids))]
    chosen = chosen[: len(everyone) - 2]
    return {id for group in chosen for id in group.ids}


def folds(members: Sequence[Member], seed: int, number: int = 5) -> list[dict[str, list[str]]]:
    """nnU-Net's `splits_final.json`: groups dealt to `number` validation sets, or to fewer where there are fewer groups.

    Raises:
        ConversionError: fewer than two groups.
    """
    refuse_few(members, 0)
    strata = drawn(members, seed)
    parts: list[list[Group]] = [[] for _ in range(min(number, sum(map(len, strata.values()))))]
    for stratum, groups in strata.items():
        for group in sorted(groups, key=lambda group: -len(group.ids)):  # stable: the drawn order among equals

            def load(part: list[Group], stratum: str = stratum) -> tuple[int, int]:
                alike = sum(len(member.ids) for member in part if member.stratum == stratum)
                return alike, sum(len(member.ids) for member in part)

            min(parts, key=load).append(group)
    everyone = {member.id for member in members}
    validation = [{id for group in part for id in group.ids} for part in parts]
    return [{"train": sorted(everyone - val), "val": sorted(val)} for val in validation]
