"""What a report says of its tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnunet_fess.study.results import Case
from nnunet_fess.study.statistics import comparisons
from nnunet_fess.study.words import about_tests


@pytest.fixture
def row():
    generator = np.random.default_rng(0)
    cases = [
        Case(f"{trainer}-{seed}", "D", trainer, seed, 0, "all", 0, f"case{number}", "x", {"dice": float(generator.random())})
        for trainer in "AB"
        for seed in range(3)
        for number in range(10)
    ]
    return comparisons(cases, ["dice"], "A")[0]


def test_few_cases_are_told_where_there_are_few(row):
    assert "fewer than six cases" not in about_tests([row])
    assert "fewer than six cases" in about_tests([row, replace(row, cases=5)])


def test_a_pair_without_any_case_is_not_few_cases(row):
    assert "fewer than six cases" not in about_tests([row, replace(row, cases=0, runs=0)])


def test_numbers_of_runs_are_listed(row):
    text = about_tests([replace(row, runs=number) for number in (3, 0, 2)])
    assert "There are 0, 2 or 3 paired runs" in text
