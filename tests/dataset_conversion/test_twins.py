"""The same voxels are one patient on one side of every split, whatever the scans are called and however they are stored."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import downloads
import nibabel as nib
import numpy as np
import pytest

from dataset_conversion.cli import main


def report(raw: Path) -> dict:
    (folder,) = raw.iterdir()
    return json.loads((folder / "conversion_report.json").read_text())


def sides(raw: Path, first: str, second: str) -> None:
    """Both cases are on the same side of every split."""
    (folder,) = raw.iterdir()
    splits = json.loads((folder / "splits_final.json").read_text())
    subsets = {report(raw)["cases"][id]["subset"] for id in (first, second)}
    assert len(subsets) == 1
    for fold in splits:
        assert (first in fold["val"]) == (second in fold["val"])


def brats2021(root: Path, patients: dict[int, int]) -> Path:
    """BraTS 2021 scans: id → whose voxels."""
    for number, patient in patients.items():
        downloads.scan(root, f"BraTS2021_{number:05d}", downloads.brain(patient))
    return root


@pytest.mark.parametrize("seed", range(6))
def test_one_patient_under_two_ids(seed: int, tmp_path: Path, raw: Path, capsys) -> None:
    root = brats2021(tmp_path / "download", {1: 1, 2: 2, 3: 3, 4: 4, 99: 2})
    assert main(["brats2021", str(root), "-np", "1", "--seed", str(seed)]) == 0
    sides(raw, "BraTS21_00002_glioma", "BraTS21_00099_glioma")
    assert "BraTS21_00002_glioma, BraTS21_00099_glioma have the same voxels: one patient under" in capsys.readouterr().out
    assert report(raw)["same_voxels"] == [["BraTS21_00002_glioma", "BraTS21_00099_glioma"]]
    assert any("have the same voxels" in warning for warning in report(raw)["warnings"])


def recompressed(path: Path) -> Path:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine), path.with_suffix(""))  # not compressed at all
    path.unlink()
    return path.with_suffix("")


def as_float(path: Path) -> Path:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj).astype(np.float32), image.affine), path)
    return path


def shifted(path: Path) -> Path:
    image = nib.load(path)
    affine = image.affine.copy()
    affine[1, 3] += 17
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
    return path


def turned(path: Path) -> Path:
    image = nib.load(path)
    nib.save(nib.as_closest_canonical(image), path)
    assert nib.aff2axcodes(nib.load(path).affine) != nib.aff2axcodes(image.affine)
    return path


def cropped(path: Path) -> Path:
    image = nib.load(path)
    empty = 2  # voxels at each side
    assert not np.asarray(image.dataobj)[:empty].any()
    nib.save(image.slicer[empty:-empty, empty:, :], path)
    return path


@pytest.mark.parametrize("stored", [recompressed, as_float, shifted, turned, cropped])
def test_the_container_does_not_hide_a_twin(stored, tmp_path: Path, raw: Path) -> None:
    root = brats2021(tmp_path / "download", {1: 1, 2: 2, 3: 3, 4: 4, 5: 2})
    for path in list((root / "BraTS2021_00005").iterdir()):
        stored(path)
    assert main(["brats2021", str(root), "-np", "1"]) == 0
    assert report(raw)["same_voxels"] == [["BraTS21_00002_glioma", "BraTS21_00005_glioma"]]


def test_one_shared_channel_is_enough(tmp_path: Path, raw: Path) -> None:
    root = brats2021(tmp_path / "download", {1: 1, 2: 2, 3: 3, 4: 4})
    shutil.copy(root / "BraTS2021_00001/BraTS2021_00001_t1.nii.gz", root / "BraTS2021_00003/BraTS2021_00003_t2.nii.gz")
    assert main(["brats2021", str(root), "-np", "1"]) == 0
    assert report(raw)["same_voxels"] == [["BraTS21_00001_glioma", "BraTS21_00003_glioma"]]


def test_a_different_voxel_is_a_different_image(tmp_path: Path, raw: Path) -> None:
    root = brats2021(tmp_path / "download", {1: 1, 2: 2, 3: 3, 4: 4, 5: 4})
    for path in (root / "BraTS2021_00005").glob("*[!g].nii.gz"):
        image = nib.load(path)
        voxels = np.asarray(image.dataobj).copy()
        voxels[-1, -1, -1] += 1  # far from the marked ones
        nib.save(nib.Nifti1Image(voxels, image.affine), path)
    for path in (root / "BraTS2021_00005").glob("*seg.nii.gz"):
        assert path.exists()  # an equal label makes no twins
    assert main(["brats2021", str(root), "-np", "1", "--channels", "flair,t1,t2"]) == 0
    assert report(raw)["same_voxels"] == []


def test_a_test_scan_keeps_its_twin_out_of_the_training(tmp_path: Path, raw: Path) -> None:
    root = brats2021(tmp_path / "training", {1: 1, 2: 2, 3: 3, 4: 4})
    downloads.scan(tmp_path / "validation", "BraTS2021_00099", downloads.brain(2), label=False)
    assert main(["brats2021", str(root), str(tmp_path / "validation"), "-np", "1", "--test-fraction", "0"]) == 0
    assert report(raw)["cases"]["BraTS21_00002_glioma"]["subset"] == "test"


def test_across_editions(tmp_path: Path, raw: Path) -> None:
    """A scan of 2016 that 2017 has under a name of another centre, once as .mha and once as .nii.gz."""
    sources = [downloads.brats2016(tmp_path / "2016"), downloads.brats2017(tmp_path / "2017")]
    twin = tmp_path / "2017/MICCAI_BraTS17_Data_Training/LGG"
    downloads.scan(twin, "Brats17_CBICA_AZZ_1", downloads.brain(24, "LGG"))
    assert main(["brats2016_2017", *map(str, sources), "-np", "1"]) == 0
    sides(raw, "BraTS16_2013_0001_1_LGG", "BraTS17_CBICA_AZZ_1_LGG")


def test_a_twin_of_the_other_edition_is_dropped_with_it(tmp_path: Path, raw: Path, capsys) -> None:
    sources = [downloads.brats2016(tmp_path / "2016"), downloads.brats2017(tmp_path / "2017")]
    twin = tmp_path / "2017/MICCAI_BraTS17_Data_Training/LGG"
    downloads.scan(twin, "Brats17_CBICA_AZZ_1", downloads.brain(24, "LGG"))
    assert main(["brats2016_2017", *map(str, sources), "-np", "1", "--overlap", "drop-2016"]) == 0
    assert "BraTS16_2013_0001_1_LGG" not in report(raw)["cases"]
    assert (
        "left out, because their patients have scans in the other edition: BraTS16_2013_0001_1_LGG" in capsys.readouterr().out
    )


@pytest.mark.parametrize("channels", ["flair", "t1,t1ce,t2,flair"])
@pytest.mark.parametrize("labelled", [True, False])
def test_2017_once_without_its_grade_folder(labelled: bool, channels: str, tmp_path: Path, raw: Path, capsys) -> None:
    root = downloads.brats2017(tmp_path / "download")
    for folder in ("Brats17_CBICA_AAC_1", "Brats17_CBICA_AAD_1"):
        downloads.scan(root / "MICCAI_BraTS17_Data_Training/HGG", folder, downloads.brain(len(folder) + ord(folder[-3])))
    downloads.scan(root / "elsewhere", "Brats17_2013_2_1", downloads.brain(12), label=labelled)
    assert main(["brats2017", str(root), "-np", "1", "--channels", channels]) == 0
    assert "7 scans of 6 patients" in capsys.readouterr().out
    sides(raw, "BraTS17_2013_2_1_HGG", "BraTS17_2013_2_1_unknown")


@pytest.mark.parametrize("grade", ["HGG", "LGG"])
def test_2016_once_without_its_grade_folder(grade: str, tmp_path: Path, raw: Path) -> None:
    """The number alone may be either grade's, so it stays with both."""
    root = downloads.brats2016(tmp_path / "download")
    for number in range(3):
        downloads.vsd_scan(root / f"BRATS2015_Training/HGG/brats_tcia_pat20{number}_0001", downloads.brain(40 + number))
    downloads.vsd_scan(root / "elsewhere/brats_2013_pat0001_1", downloads.brain(20 if grade == "HGG" else 24, grade))
    assert main(["brats2016", str(root), "-np", "1"]) == 0
    sides(raw, f"BraTS16_2013_0001_1_{grade}", "BraTS16_2013_0001_1_unknown")


def test_a_tcia_scan_without_its_grade_folder_has_no_second_grade(tmp_path: Path, raw: Path) -> None:
    root = downloads.brats2017(tmp_path / "download")
    downloads.scan(root / "elsewhere", "Brats17_TCIA_153_1", downloads.brain(10))
    assert main(["brats2017", str(root), "-np", "1"]) == 0
    sides(raw, "BraTS17_TCIA_153_1_HGG", "BraTS17_TCIA_153_1_unknown")


def test_ct(tmp_path: Path, raw: Path) -> None:
    root = downloads.abdomenct1k(tmp_path / "download")
    downloads.ct(root, "00012", 3)
    assert main(["abdomenct1k", str(root), "-np", "1"]) == 0
    sides(raw, "AbdomenCT1K_00011_CT", "AbdomenCT1K_00012_CT")


def test_two_patients_under_three_names_train_without_a_test_set(tmp_path: Path, raw: Path, capsys) -> None:
    root = brats2021(tmp_path / "download", {1: 1, 2: 2, 3: 1})
    assert main(["brats2021", str(root), "-np", "1"]) == 0
    assert (
        "only 2 patients are left once the same voxels are the same patient: no test set is held out" in capsys.readouterr().out
    )
    assert not (next(raw.iterdir()) / "imagesTs").exists()
