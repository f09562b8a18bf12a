"""Folds of limited data: nested, grouped, with one validation set."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.utilities.crossval_split import generate_crossval_split

from dataset_conversion.errors import ConversionError
from dataset_conversion.grouping import Member, folds
from dataset_conversion.report import REPORT
from dataset_conversion.splits import SPLITS, Fold, append, locate, main, nested, nnunet_folds

# The 200 cases of MSD Task04 that our published table used.
HIPPOCAMPUS = re.findall(
    r"\d+",
    """
    001 003 004 006 007 008 011 015 017 019 023 024 033 034 035 036 037 038 039 040 041 042 044 045 046 048 049 050 051 052
    056 057 060 064 065 067 068 070 074 075 077 083 087 088 089 090 091 093 096 097 098 099 101 102 104 105 106 107 108 114
    124 125 127 130 133 135 138 141 142 143 144 145 146 148 149 150 152 154 155 157 160 161 163 164 165 166 169 170 172 175
    177 178 180 181 184 185 189 190 194 195 197 199 203 204 205 207 210 212 215 216 219 220 221 222 223 224 225 229 231 232
    234 235 236 238 242 243 245 251 252 253 259 261 265 268 269 276 277 279 280 282 286 288 290 292 294 295 296 297 298 299
    301 303 305 308 309 310 311 314 316 317 318 319 320 321 322 325 326 330 332 333 334 335 337 338 340 343 349 351 352 353
    356 358 361 363 366 368 370 372 373 374 375 376 380 381 383 386 387 389 393 394
    """,
)

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


@pytest.fixture
def preprocessed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty nnUNet_preprocessed."""
    folder = tmp_path / "nnUNet_preprocessed"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_preprocessed", str(folder))
    return folder


IDS = [f"case_{n:03d}" for n in range(23)]


@pytest.fixture
def foreign(raw: Path) -> Path:
    """A dataset that nnU-Net's own converter made, as far as its cases go."""
    folder = raw / "Dataset004_Hippocampus"
    (folder / "labelsTr").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    for id in reversed(IDS):
        (folder / "labelsTr" / f"{id}.nii.gz").touch()
    return folder


def appended(dataset: Path, sizes: list[int], repeats: int, fold: int = 0) -> list[Fold]:
    return [new for *_, new in append(locate(str(dataset), None), sizes, repeats, 0, fold)]


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
    first, second = (fold["train"] for fold in appended(dataset, [20], 2))
    assert first != second


def test_same_command_again_changes_nothing(dataset: Path) -> None:
    appended(dataset, [20, 10], 2)
    before = (dataset / SPLITS).read_bytes()
    appended(dataset, [20, 10], 2)
    assert (dataset / SPLITS).read_bytes() == before


def test_preprocessed_copy_follows(dataset: Path, preprocessed: Path) -> None:
    copy = preprocessed / dataset.name / SPLITS
    copy.parent.mkdir()
    shutil.copy(dataset / SPLITS, copy)
    appended(dataset, [20], 1, fold=1)
    assert copy.read_bytes() == (dataset / SPLITS).read_bytes()


def test_other_preprocessed_splits_are_refused(dataset: Path, preprocessed: Path) -> None:
    copy = preprocessed / dataset.name / SPLITS
    copy.parent.mkdir()
    copy.write_text(json.dumps(splits_of(dataset)[::-1]))
    with pytest.raises(ConversionError, match=r"differs from .* nnU-Net would refuse one of them"):
        appended(dataset, [20], 1)


def test_killed_between_the_two_files(dataset: Path, preprocessed: Path) -> None:
    copy = preprocessed / dataset.name / SPLITS
    copy.parent.mkdir()
    before = (dataset / SPLITS).read_bytes()
    appended(dataset, [20, 10], 1)
    copy.write_bytes(before)
    appended(dataset, [20, 10], 1)
    assert copy.read_bytes() == (dataset / SPLITS).read_bytes()
    assert len(splits_of(dataset)) == 7


@settings(deadline=None, max_examples=20)
@given(st.sets(st.text("abc_019", min_size=1, max_size=6), min_size=5, max_size=40))
def test_folds_are_those_nnunet_makes(ids: set[str]) -> None:
    assert nnunet_folds(ids) == generate_crossval_split(sorted(ids), seed=12345, n_splits=5)


def test_foreign_dataset_gets_nnunets_folds_first(
    foreign: Path, preprocessed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["4", "--sizes", "8,3", "--repeats", "3"]) == 0
    after = splits_of(preprocessed / foreign.name)
    assert after[:5] == generate_crossval_split(IDS)
    assert [fold["subset"] for fold in after[5:]] == [
        {"of_fold": 0, "size": size, "repeat": repeat, "seed": 0} for repeat in range(3) for size in (8, 3)
    ]
    for large, small in zip(after[5::2], after[6::2], strict=True):
        assert set(small["train"]) < set(large["train"]) < set(after[0]["train"])
        assert small["val"] == large["val"] == after[0]["val"]
        assert (len(large["train"]), len(small["train"])) == (8, 3)
    assert not (foreign / SPLITS).exists()  # nnU-Net's converter made that folder, not we
    shown = capsys.readouterr()
    assert str(preprocessed / foreign.name / SPLITS) in shown.out
    assert "each case counts as a patient of its own" in shown.err


def test_no_warning_with_a_report(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["517", "--sizes", "10"]) == 0
    assert capsys.readouterr().err == ""


def test_foreign_splits_that_are_there_are_kept(foreign: Path, preprocessed: Path) -> None:
    (preprocessed / foreign.name).mkdir()
    mine = [{"train": IDS[:9], "val": IDS[9:]}]
    (preprocessed / foreign.name / SPLITS).write_text(json.dumps(mine))
    assert set(appended(foreign, [4], 1)[0]["train"]) < set(IDS[:9])
    after = splits_of(preprocessed / foreign.name)
    assert after[:1] == mine
    assert len(after) == 2


def test_foreign_again_changes_nothing(foreign: Path, preprocessed: Path) -> None:
    appended(foreign, [8, 3], 2)
    before = (preprocessed / foreign.name / SPLITS).read_bytes()
    appended(foreign, [8, 3], 2)
    assert (preprocessed / foreign.name / SPLITS).read_bytes() == before


def test_foreign_splits_in_the_raw_folder_go_first(foreign: Path, preprocessed: Path) -> None:
    """nnU-Net's planner copies them, and refuses a preprocessed dataset with others."""
    (foreign / SPLITS).write_text(json.dumps([{"train": IDS[:9], "val": IDS[9:]}]))
    appended(foreign, [4], 1)
    assert len(splits_of(foreign)) == 2
    assert not (preprocessed / foreign.name).exists()


def test_raw_folder_is_gone(foreign: Path, preprocessed: Path) -> None:
    """A training machine often has the preprocessed dataset alone."""
    folder = preprocessed / foreign.name
    folder.mkdir()
    (foreign / "labelsTr").rename(folder / "gt_segmentations")
    (foreign / "dataset.json").rename(folder / "dataset.json")
    foreign.rmdir()
    assert main(["4", "--sizes", "3"]) == 0
    assert splits_of(folder)[:5] == generate_crossval_split(IDS)


def test_labels_left_where_they_are(foreign: Path, preprocessed: Path) -> None:
    """The `dataset` key of dataset.json names the cases of images that lie elsewhere."""
    shutil.rmtree(foreign / "labelsTr")
    cases = {id: {"images": [f"{id}_0000.nii.gz"], "label": f"{id}.nii.gz"} for id in IDS}
    (foreign / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz", "dataset": cases}))
    appended(foreign, [3], 1)
    assert splits_of(preprocessed / foreign.name)[:5] == generate_crossval_split(IDS)


def test_path_of_the_preprocessed_folder_still_finds_the_report(dataset: Path, preprocessed: Path) -> None:
    (preprocessed / dataset.name).mkdir()
    shutil.copy(dataset / SPLITS, preprocessed / dataset.name / SPLITS)
    appended(preprocessed / dataset.name, [20], 1)
    assert len(splits_of(dataset)) == len(splits_of(preprocessed / dataset.name)) == 6


def test_linked_folder_keeps_its_name(foreign: Path, preprocessed: Path, tmp_path: Path) -> None:
    foreign.rename(tmp_path / "Task04")
    foreign.symlink_to(tmp_path / "Task04")
    assert main(["4", "--sizes", "3"]) == 0
    assert (preprocessed / foreign.name / SPLITS).exists()


def test_subsets_of_the_hippocampus_benchmark(raw: Path, preprocessed: Path) -> None:
    """Those our published table was trained on: the command must go on to make the same."""
    folder = raw / "Dataset504_Hippocampus"
    (folder / "labelsTr").mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    for number in HIPPOCAMPUS:
        (folder / "labelsTr" / f"hippocampus_{number}.nii.gz").touch()
    assert main(["504", "--sizes", "8,3", "--repeats", "3"]) == 0
    folds = splits_of(preprocessed / "Dataset504_Hippocampus")
    assert [[id.removeprefix("hippocampus_") for id in fold["train"]] for fold in folds[5:]] == [
        ["008", "019", "057", "194", "199", "216", "221", "343"],
        ["019", "194", "199"],
        ["065", "087", "149", "164", "175", "177", "180", "387"],
        ["087", "164", "387"],
        ["056", "099", "204", "269", "279", "298", "337", "351"],
        ["204", "269", "351"],
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder / "labelsTr"),
            "Dataset004_Hippocampus has 0 cases with label; nnU-Net's five folds",
        ),
        (lambda folder: (folder / "dataset.json").unlink(), "has no dataset.json"),
        (lambda folder: (folder / "dataset.json").write_text("{}"), 'dataset.json: no "file_ending"'),
        (lambda folder: (folder / SPLITS).write_text("{}"), "splits_final.json: a list of folds with train and val expected"),
        (lambda folder: (folder / SPLITS).write_text("[]"), "splits_final.json: a list of folds with train and val expected"),
    ],
)
def test_damaged_foreign_dataset(damage, message: str, foreign: Path, preprocessed: Path, capsys) -> None:
    damage(foreign)
    assert main(["4", "--sizes", "3"]) == 1
    assert message in capsys.readouterr().err
    assert list(preprocessed.iterdir()) == []


def test_splits_name_a_case_that_the_report_does_not(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset / SPLITS).write_text(json.dumps([{"train": ["p1_s0", "stranger"], "val": []}]))
    assert main(["517", "--sizes", "1"]) == 1
    assert "conversion_report.json lacks stranger, which splits_final.json names" in capsys.readouterr().err


def test_our_dataset_without_its_splits(dataset: Path, preprocessed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """nnU-Net's own folds would tear patients apart."""
    (dataset / SPLITS).unlink()
    assert main(["517", "--sizes", "10"]) == 1
    assert "has no splits_final.json, though our converter writes one: convert it again" in capsys.readouterr().err


def test_nowhere_to_write_the_folds(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["4", "--sizes", "3"]) == 1
    assert "Set the environment variable nnUNet_preprocessed" in capsys.readouterr().err


def test_no_folder_is_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.delenv(name, raising=False)
    assert main(["4", "--sizes", "3"]) == 1
    assert "Set the environment variables nnUNet_raw and nnUNet_preprocessed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["517", "--sizes", "500"], "--sizes 500: the training set has "),
        (["517", "--sizes", "10", "--fold", "5"], "--fold 5: Dataset517_BraTS2017 has folds 0…4"),
        (["900", "--sizes", "10"], "dataset 900: one folder expected in"),
        (["./", "--sizes", "10"], "is no dataset of nnU-Net: its folder would be called DatasetNNN_NAME"),
        (["Dataset900_No", "--sizes", "10"], "dataset Dataset900_No: one folder expected in "),
        (["somewhere/Dataset517_BraTS2017", "--sizes", "10"], "dataset somewhere/Dataset517_BraTS2017: no such folder"),
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


@pytest.mark.parametrize(("name", "message"), [("²", "is no dataset of nnU-Net"), ("", "is empty"), (" ", "is empty")])
def test_a_dataset_that_cannot_be_one(raw: Path, name: str, message: str) -> None:
    with pytest.raises(ConversionError, match=message):
        locate(name, None)
