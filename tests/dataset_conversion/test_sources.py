"""Files are found by role, wherever they lie; what cannot be looked into is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dataset_conversion import sources
from dataset_conversion.datasets import brats2016_2017
from dataset_conversion.datasets.brats2017 import DATASET
from dataset_conversion.errors import ConversionError
from dataset_conversion.facts import LABEL
from dataset_conversion.sources import index, resolve

ROLES = ("t1", "t1ce", "t2", "flair", "seg")


def scan(folder: Path, name: str, *roles: str) -> None:
    """Empty files of one scan."""
    (folder / name).mkdir(parents=True)
    for role in roles or ROLES:
        (folder / name / f"{name}_{role}.nii.gz").touch()


def test_channels_that_are_not_asked_for_are_not_looked_at(tmp_path: Path) -> None:
    scan(tmp_path / "HGG", "Brats17_TCIA_1_1", "flair", "seg")
    (tmp_path / "HGG" / "Brats17_TCIA_1_1_t1.nii").touch()
    (tmp_path / "HGG" / "Brats17_TCIA_1_1_t1.nii.gz").touch()
    found = index([tmp_path], DATASET, ["flair"])
    assert not found.problems
    assert [sorted(case.files) for case in found.cases] == [["flair", LABEL]]


def test_folder_without_grade_but_with_labels_needs_them_all(tmp_path: Path) -> None:
    scan(tmp_path / "all", "Brats17_TCIA_1_1")
    scan(tmp_path / "all", "Brats17_TCIA_2_1", "t1", "t1ce", "t2", "flair")
    (problem,) = index([tmp_path], DATASET, ["flair"]).problems
    assert problem.case == "BraTS17_TCIA_2_1_unknown"
    assert problem.message.startswith("no file for label")


def test_folder_without_labels_is_a_test_set(tmp_path: Path) -> None:
    scan(tmp_path / "HGG", "Brats17_TCIA_1_1")
    scan(tmp_path / "other", "Brats17_TCIA_2_1", "t1", "t1ce", "t2", "flair")
    found = index([tmp_path], DATASET, ["flair"])
    assert [(case.scan.name, case.labelled) for case in found.cases] == [
        ("Brats17_TCIA_1_1", True),
        ("Brats17_TCIA_2_1", False),
    ]


def test_folder_that_may_not_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan(tmp_path / "HGG", "Brats17_TCIA_1_1")
    (tmp_path / "LGG").mkdir()
    scandir = os.scandir

    def denied(path: Path):
        if Path(path).name == "LGG":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(sources.os, "scandir", denied)
    (problem,) = index([tmp_path], DATASET, ["flair"]).problems
    assert (problem.file, problem.message) == ("LGG", "cannot be listed: Permission denied")


def test_link_to_a_file_inside_source_is_followed(tmp_path: Path) -> None:
    scan(tmp_path / "HGG", "Brats17_TCIA_1_1")
    real = (tmp_path / "HGG/Brats17_TCIA_1_1/Brats17_TCIA_1_1_flair.nii.gz").rename(tmp_path / "annexed")
    (tmp_path / "HGG/Brats17_TCIA_1_1/Brats17_TCIA_1_1_flair.nii.gz").symlink_to(real)
    found = index([tmp_path], DATASET, ["flair"])
    assert not found.problems
    assert len(found.cases) == 1


def test_link_to_a_folder_inside_source_is_not_a_second_scan(tmp_path: Path) -> None:
    scan(tmp_path / "HGG", "Brats17_TCIA_1_1")
    (tmp_path / "again").symlink_to(tmp_path / "HGG")
    found = index([tmp_path], DATASET, ["flair"])
    assert not found.problems
    assert len(found.cases) == 1


def test_source_may_itself_be_a_link(tmp_path: Path) -> None:
    scan(tmp_path / "disk" / "HGG", "Brats17_TCIA_1_1")
    (tmp_path / "source").symlink_to(tmp_path / "disk")
    assert len(index(resolve([tmp_path / "source"]), DATASET, ["flair"]).cases) == 1


@pytest.mark.parametrize("second", ["a", "a/b", "."])
def test_sources_that_overlap(second: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConversionError, match="give each folder once"):
        resolve(["a", second])


def test_scan_without_grade_cannot_be_kept_with_its_other_edition(tmp_path: Path) -> None:
    scan(tmp_path / "all", "Brats17_2013_1_1")
    file = tmp_path / "HGG/brats_2013_pat0001_1/VSD.Brain.XX.O.MR_Flair.1.mha"
    file.parent.mkdir(parents=True)
    file.touch()
    file.with_name("VSD.Brain.XX.O.OT.2.mha").touch()
    (problem,) = index([tmp_path], brats2016_2017.DATASET, ["flair"]).problems
    assert problem.case == "BraTS17_2013_1_1_unknown"
    assert problem.message.startswith("no folder HGG or LGG above it, which tells whose other scans it must stay with")


def test_folder_above_source_tells_no_grade(tmp_path: Path) -> None:
    scan(tmp_path / "LGG" / "source" / "HGG", "Brats17_TCIA_1_1")
    scan(tmp_path / "LGG" / "source" / "validation", "Brats17_TCIA_2_1", "t1", "t1ce", "t2", "flair")
    found = index([tmp_path / "LGG" / "source"], DATASET, ["flair"])
    assert not found.problems
    assert [case.scan.stratum for case in found.cases] == ["HGG", "unknown"]
