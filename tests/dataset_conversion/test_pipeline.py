"""From a download to a dataset: what is trained on, what is left out, and what is recorded."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import downloads
import numpy as np
import pytest
from defects import (
    CASE,
    LGG,
    T1,
    damaged_gzip,
    edited,
    label_of_2016,
    label_of_another_size,
    nan_in_image,
    truncated_gzip,
)

from dataset_conversion.cli import main


def test_folder_without_labels_becomes_the_test_set(download, raw: Path) -> None:
    root = download("brats2017")
    shutil.copytree((root / CASE).parent, root / "Brats17ValidationData/Brats17_CBICA_AAM_1")
    for path in (root / "Brats17ValidationData/Brats17_CBICA_AAM_1").iterdir():
        with edited(path) as volume:
            volume.voxels = np.ascontiguousarray(volume.voxels[:, :, ::-1])  # the same voxels would be the same patient
        path.unlink() if "_seg" in path.name else path.rename(path.with_name(path.name.replace("TCIA_153", "CBICA_AAM")))
    assert main(["brats2017", str(root), "-np", "1", "--test-fraction", "0"]) == 0
    folder = raw / "Dataset517_BraTS2017"
    assert {path.name[:-12] for path in (folder / "imagesTs").iterdir()} == {"BraTS17_CBICA_AAM_1_unknown"}
    assert not (folder / "labelsTs").exists()


def test_patient_of_a_scan_without_label_is_not_trained_on(download, raw: Path) -> None:
    root = download("brats2017")
    shutil.copytree((root / CASE).parent, root / "Brats17ValidationData/Brats17_TCIA_153_2")
    for path in (root / "Brats17ValidationData/Brats17_TCIA_153_2").iterdir():
        path.unlink() if "_seg" in path.name else path.rename(path.with_name(path.name.replace("153_1", "153_2")))
    assert main(["brats2017", str(root), "-np", "1", "--test-fraction", "0"]) == 0
    assert not list((raw / "Dataset517_BraTS2017" / "imagesTr").glob("*TCIA_153*"))


def test_skip_leaves_the_case_out_and_names_it(download, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    truncated_gzip(root)
    assert main(["brats2017", str(root), "-np", "1", "--on-error", "skip"]) == 0
    assert "1 problem(s) in 1 case(s): left out" in capsys.readouterr().out
    report = json.loads((raw / "Dataset517_BraTS2017/conversion_report.json").read_text())
    assert [problem["case"] for problem in report["skipped"]] == ["BraTS17_TCIA_153_1_HGG"]
    assert not list(raw.rglob("*TCIA_153*"))


def test_all_problems_are_reported_at_once(download, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = download("brats2017")
    nan_in_image(root)
    label_of_2016(root)
    label_of_another_size(root)
    shutil.copy(root / f"{LGG}_t1.nii.gz", root / f"{LGG}_t2.nii")
    assert main(["brats2017", str(root), "-np", "1", "--dry-run"]) == 1
    error = capsys.readouterr().err
    x, y, z = downloads.SHAPE
    for message in ("2 voxels are NaN", "label values 3 (7 voxels)", f"size {(x - 1, y, z)}", "2 candidates for t2"):
        assert message in error
    assert "4 problem(s) in 2 case(s)" in error


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        ("group", {"16": 5, "17": 4}),
        ("drop-2016", {"16": 1, "17": 4}),
        ("drop-2017", {"16": 5, "17": 2}),
    ],
)
def test_overlap(overlap: str, expected: dict[str, int], laid_out: Path, raw: Path) -> None:
    sources = [str(laid_out / name) for name in ("brats2016", "brats2017")]
    assert main(["brats2016_2017", *sources, "-np", "1", "--overlap", overlap]) == 0
    cases = json.loads((raw / "Dataset518_BraTS2016and2017/conversion_report.json").read_text())["cases"]
    assert {year: sum(id.startswith(f"BraTS{year}") for id in cases) for year in expected} == expected


def test_sha256_is_recorded(laid_out: Path, raw: Path) -> None:
    assert main(["brats2017", str(laid_out / "brats2017"), "-np", "1", "--sha256"]) == 0
    cases = json.loads((raw / "Dataset517_BraTS2017/conversion_report.json").read_text())["cases"]
    expected = hashlib.sha256((laid_out / "brats2017" / T1).read_bytes()).hexdigest()
    assert cases["BraTS17_TCIA_153_1_HGG"]["files"]["t1"]["sha256"] == expected


def test_report_is_the_same_wherever_the_source_lies(download, laid_out: Path, raw: Path) -> None:
    root = download("brats2017")
    assert main(["brats2017", str(root), "-np", "1", "--raw", str(raw / "a")]) == 0
    assert main(["brats2017", str(laid_out / "brats2017"), "-np", "2", "--raw", str(raw / "b")]) == 0
    files = {path.relative_to(raw / "a"): path.read_bytes() for path in (raw / "a").rglob("*") if path.is_file()}
    assert files == {path.relative_to(raw / "b"): path.read_bytes() for path in (raw / "b").rglob("*") if path.is_file()}


def test_damaged_case_of_a_large_download_keeps_the_rest_in_parallel(download, raw: Path) -> None:
    root = download("brats2017")
    damaged_gzip(root)
    assert main(["brats2017", str(root), "-np", "2", "--on-error", "skip", "--test-fraction", "0"]) == 0
    assert len(list(raw.rglob("labelsTr/*"))) == 3
