"""Folds of limited data: nested, grouped, with one validation set."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_conversion.errors import ConversionError
from dataset_conversion.grouping import Member, folds
from dataset_conversion.report import REPORT
from dataset_conversion.splits import SPLITS, append, main, nested

MEMBERS = [
    Member(f"p{patient}_s{scan}", f"p{patient}", "HGG" if patient % 4 else "LGG")
    for patient in range(60)
    for scan in range(1 + patient % 3)
]


@pytest.fixture
def dataset(raw: Path) -> Path:
    """A converted dataset, as far as its splits go."""
    folder = raw / "Dataset517_BraTS2017"
    folder.mkdir()
    cases = {member.id: {"group": member.group, "stratum": member.stratum} for member in MEMBERS}
    (folder / REPORT).write_text(json.dumps({"cases": cases}))
    (folder / SPLITS).write_text(json.dumps(folds(MEMBERS, 0)))
    return folder


def splits_of(folder: Path) -> list[dict]:
    return json.loads((folder / SPLITS).read_text())


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 119), min_size=1, max_size=4), st.integers(0, 50))
def test_subsets_are_nested_whole_groups(sizes: list[int], seed: int) -> None:
    subsets = nested(MEMBERS, sizes, seed)
    ordered = [set(subsets[size]) for size in sorted(subsets)]
    assert all(small <= large for small, large in pairwise(ordered))
    for size, subset in subsets.items():
        assert size - 2 <= len(subset) <= size
        patients = {id.split("_")[0] for id in subset}
        assert {member.id for member in MEMBERS if member.group in patients} == set(subset)


def test_strata_keep_their_shares() -> None:
    members = [Member(f"{grade}{n}", f"{grade}{n}", grade) for grade, count in (("H", 90), ("L", 30)) for n in range(count)]
    for size, subset in nested(members, [20, 40, 80], 0).items():
        assert sum(id.startswith("L") for id in subset) == size / 4


def test_appended_folds(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = splits_of(dataset)
    assert main(["517", "--sizes", "60,30,10", "--repeats", "3", "--seed", "5"]) == 0
    after = splits_of(dataset)
    assert after[: len(before)] == before
    assert len(after) == len(before) + 9
    assert all(fold["val"] == before[0]["val"] for fold in after[5:])
    assert all(set(fold["train"]) < set(before[0]["train"]) for fold in after[5:])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:11]]
    assert [row[:2] for row in rows] == [[str(5 + n), str(n // 3)] for n in range(9)]
    assert [int(row[2]) for row in rows] == [len(fold["train"]) for fold in after[5:]]


def test_repeats_differ(dataset: Path) -> None:
    first, second = (fold["train"] for *_, fold in append(dataset, [20], 2, 0, 0))
    assert first != second


def test_same_command_again_changes_nothing(dataset: Path) -> None:
    append(dataset, [20, 10], 2, 0, 0)
    before = (dataset / SPLITS).read_bytes()
    append(dataset, [20, 10], 2, 0, 0)
    assert (dataset / SPLITS).read_bytes() == before


def test_preprocessed_copy_follows(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "preprocessed" / dataset.name / SPLITS
    copy.parent.mkdir(parents=True)
    shutil.copy(dataset / SPLITS, copy)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    append(dataset, [20], 1, 0, 1)
    assert copy.read_bytes() == (dataset / SPLITS).read_bytes()


def test_other_preprocessed_splits_are_refused(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "preprocessed" / dataset.name / SPLITS
    copy.parent.mkdir(parents=True)
    copy.write_text(json.dumps(splits_of(dataset)[::-1]))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    with pytest.raises(ConversionError, match=r"differs from .* nnU-Net would refuse one of them"):
        append(dataset, [20], 1, 0, 0)


def test_killed_between_the_two_files(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "preprocessed" / dataset.name / SPLITS
    copy.parent.mkdir(parents=True)
    shutil.copy(dataset / SPLITS, copy)
    append(dataset, [20, 10], 1, 0, 0)
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    append(dataset, [20, 10], 1, 0, 0)
    assert copy.read_bytes() == (dataset / SPLITS).read_bytes()
    assert len(splits_of(dataset)) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["517", "--sizes", "500"], "--sizes 500: the training set has "),
        (["517", "--sizes", "10", "--fold", "5"], "--fold 5: Dataset517_BraTS2017 has folds 0…4"),
        (["900", "--sizes", "10"], "dataset 900: one folder expected in"),
        (["./", "--sizes", "10"], "it was not made by nnunet_fess convert"),
    ],
)
def test_refused(arguments: list[str], message: str, dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("sizes", ["0", "-3", "ten", ""])
def test_sizes_that_are_none(sizes: str, dataset: Path) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["517", f"--sizes={sizes}"])
    assert exit.value.code == 2
