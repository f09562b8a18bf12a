"""BraTS 2021: its names, its conversion, and a real case."""

from __future__ import annotations

import json
import shutil
from pathlib import Path, PurePath

import downloads
import pytest

from dataset_conversion.cli import main
from dataset_conversion.datasets.brats2021 import match
from dataset_conversion.facts import LABEL


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("BraTS2021_00006/BraTS2021_00006_flair.nii.gz", "flair"),
        ("BraTS2021_00006/BraTS2021_00006_seg.nii.gz", LABEL),
        ("BraTS2021_00006/00000057_brain_t1ce.nii", "t1ce"),
        ("BraTS2021_00006/00000057_final_seg.nii", LABEL),
    ],
)
def test_role(path: str, role: str) -> None:
    found = match(PurePath("/data") / path)
    assert found is not None
    assert (found[0].id, found[1]) == ("BraTS21_00006_glioma", role)


def test_conversion(tmp_path: Path, raw: Path) -> None:
    root = downloads.brats2021(tmp_path, [6, 7, 8])
    folder = root / "RSNA_ASNR_MICCAI_BraTS2021_TrainingData_16July2021"
    (folder / "BraTS2021_00008" / "BraTS2021_00008_seg.nii.gz").unlink()
    assert main(["brats2021", str(folder), "-np", "1", "--channels", "flair", "--test-fraction", "0"]) == 1
    shutil.move(folder / "BraTS2021_00008", tmp_path / "validation" / "BraTS2021_00008")
    sources = [str(folder), str(tmp_path / "validation")]
    assert main(["brats2021", *sources, "-np", "1", "--channels", "flair", "--test-fraction", "0"]) == 0
    folder = raw / "Dataset520_BraTS2021"
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["BraTS21_00008_glioma_0000.nii.gz"]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 2


def test_real_case(shared: Path, tmp_path: Path, raw: Path) -> None:
    """One real case under two ids, and a phantom: the two are one patient."""
    root = downloads.brats2021(tmp_path / "download", [9])
    for number in ("00006", "00007"):
        folder = root / f"BraTS2021_{number}"
        folder.mkdir(parents=True)
        for path in (shared / "data" / "brats2021" / "BraTS2021_00006").iterdir():
            shutil.copy(path, folder / path.name.replace("00006", number))
    assert main(["brats2021", str(root), "-np", "1", "--channels", "flair", "--test-fraction", "0"]) == 0
    report = json.loads((raw / "Dataset520_BraTS2021/conversion_report.json").read_text())
    assert report["same_voxels"] == [["BraTS21_00006_glioma", "BraTS21_00007_glioma"]]
