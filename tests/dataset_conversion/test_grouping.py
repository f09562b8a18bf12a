"""Patients stay together, grades stay balanced, draws depend on the seed alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_conversion.errors import ConversionError
from dataset_conversion.grouping import Member, folds, hold_out, merged


@st.composite
def populations(draw: st.DrawFn) -> list[Member]:
    """3 to 40 patients with 1 to 10 scans, of two grades."""
    sizes = draw(st.lists(st.integers(1, 10), min_size=3, max_size=40))
    grades = draw(st.lists(st.sampled_from(["HGG", "LGG"]), min_size=len(sizes), max_size=len(sizes)))
    return [
        Member(f"p{patient}_s{scan}", f"p{patient}", grade)
        for patient, (size, grade) in enumerate(zip(sizes, grades, strict=True))
        for scan in range(size)
    ]


def groups(ids: set[str] | list[str]) -> set[str]:
    return {id.split("_")[0] for id in ids}


@settings(deadline=None, max_examples=60)
@given(populations(), st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 100))
def test_no_group_is_on_two_sides(members: list[Member], fraction: float, seed: int) -> None:
    test = hold_out(members, fraction, seed)
    training = [member for member in members if member.id not in test]
    assert test
    assert not groups(test) & {member.group for member in training}
    for fold in folds(training, seed):
        assert not groups(fold["train"]) & groups(fold["val"])


@settings(deadline=None, max_examples=60)
@given(populations(), st.integers(0, 100))
def test_every_case_is_validated_once(members: list[Member], seed: int) -> None:
    splits = folds(members, seed)
    assert sorted(id for fold in splits for id in fold["val"]) == sorted(member.id for member in members)
    assert all(fold["val"] and fold["train"] for fold in splits)
    assert len(splits) == min(5, len(groups([member.id for member in members])))


def cohort(high: int, low: int) -> list[Member]:
    """One scan per patient."""
    return [Member(f"h{n}", f"h{n}", "HGG") for n in range(high)] + [Member(f"l{n}", f"l{n}", "LGG") for n in range(low)]


def test_grades_are_balanced() -> None:
    members = cohort(100, 50)
    test = hold_out(members, 0.2, 0)
    assert [sum(id.startswith(grade) for id in test) for grade in "hl"] == [20, 10]
    for fold in folds([member for member in members if member.id not in test], 0):
        assert [sum(id.startswith(grade) for id in fold["val"]) for grade in "hl"] == [16, 8]


def test_one_group_more_does_not_reshuffle_the_others() -> None:
    before, after = hold_out(cohort(100, 0), 0.2, 0), hold_out(cohort(101, 0), 0.2, 0)
    assert len(before - after) <= 1


def test_seed_decides() -> None:
    members = cohort(40, 0)
    assert hold_out(members, 0.2, 1) == hold_out(members[::-1], 0.2, 1) != hold_out(members, 0.2, 2)


def test_no_test_set() -> None:
    assert hold_out(cohort(2, 0), 0, 0) == set()


def test_too_few_groups_for_a_test_set() -> None:
    with pytest.raises(ConversionError, match=r"2 patient\(s\) with label: .* needs at least 3; use --test-fraction 0"):
        hold_out(cohort(2, 0), 0.2, 0)


def test_too_few_groups_for_folds() -> None:
    with pytest.raises(ConversionError, match=r"1 patient\(s\) left for training: .* at least 2"):
        folds(cohort(1, 0), 0)


@given(st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=3), max_size=8))
def test_merged_sets_have_nothing_in_common(sets: list[set[int]]) -> None:
    result = merged(sets)
    assert sum(map(len, result)) == len(set().union(*sets))
    assert all(any(names <= together for together in result) for names in sets)
