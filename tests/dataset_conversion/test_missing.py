"""What is not there is told, with what is wanted: another dataset, half a dataset, labels that a mirror changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import downloads
import nibabel as nib
import numpy as np
import pytest

from dataset_conversion.cli import main


def refused(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([name, str(root), "-np", "1"]) == 1
    error = capsys.readouterr().err
    assert "--test-fraction" not in error
    return error


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("brats2017", "HGG/Brats18_TCIA01_147_1/Brats18_TCIA01_147_1_t1.nii.gz", "it holds BraTS 2018: try  convert brats2018"),
        ("brats2018", "HGG/Brats17_TCIA_147_1/Brats17_TCIA_147_1_t1.nii.gz", "it holds BraTS 2017: try  convert brats2017"),
        ("brats2017", "HGG/BraTS19_TMC_1_1/BraTS19_TMC_1_1_flair.nii.gz", "it holds BraTS 2019: try  convert brats2019"),
        ("brats2017", "BraTS20_Training_001/BraTS20_Training_001_t1.nii", "it holds BraTS 2020: try  convert brats2020"),
        ("brats2021", "BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz", "it holds BraTS 2023 GLI: try  convert brats2023"),
        ("brats2017", "BraTS-MEN-00000-000/BraTS-MEN-00000-000-t1n.nii.gz", "it holds another tumour or cohort of BraTS 2023"),
        ("brats2017", "TCGA-02-0006/TCGA-02-0006_1996.08.23_flair.nii.gz", "it holds BraTS-TCGA-GBM or -LGG of The Cancer"),
        ("brats2021", "UPENN-GBM-00001_11/UPENN-GBM-00001_11_T1.nii.gz", "it holds UPENN-GBM of The Cancer Imaging Archive"),
        ("brats2017", "R01-001/1-01.dcm", "it holds DICOM"),
        ("abdomenct1k", "FLARE22Train/images/FLARE22_Tr_0001_0000.nii.gz", "it holds a FLARE challenge"),
        ("abdomenct1k", "TrainingImg/train_000_0000.nii.gz", "it holds a FLARE challenge"),
        ("abdomenct1k", "imagesTr/amos_0001.nii.gz", "it holds AMOS22: try  convert amos22"),
        ("amos22", "amos_0001.nii.gz", "imagesTr/amos_0001.nii.gz with its label labelsTr/amos_0001.nii.gz"),
        ("brats2016", "HGG/patient/VSD.Brain.XX.O.MR_T1.1.mha", "Wanted: HGG/brats_tcia_pat153_0109/"),
    ],
)
def test_another_dataset(name: str, file: str, message: str, tmp_path: Path, raw: Path, capsys) -> None:
    root = tmp_path / "download"
    (root / file).parent.mkdir(parents=True)
    (root / file).touch()
    said = refused(name, root, capsys)
    assert message in said
    assert f"There: 1 other files, such as {file}" in said
    assert "Wanted: " in said


def test_only_masks(tmp_path: Path, raw: Path, capsys) -> None:
    root = downloads.abdomenct1k(tmp_path / "download")
    shutil.rmtree(root / "AbdomenCT-1K-ImagePart1")
    said = refused("abdomenct1k", root, capsys)
    assert "no image found under" in said
    assert "only 3 masks (Case_00001, Case_00002, Case_00011): the name tells an image from a mask" in said
    assert "Wanted: AbdomenCT-1K-ImagePart1/Case_00001_0000.nii.gz with its mask Mask/Case_00001.nii.gz" in said


def test_only_images(tmp_path: Path, raw: Path, capsys) -> None:
    root = downloads.abdomenct1k(tmp_path / "download")
    shutil.rmtree(root / "Mask")
    said = refused("abdomenct1k", root, capsys)
    assert "no scan with a label found under" in said
    assert "only 4 without (Case_00001, Case_00002, Case_00011, Case_00500): there is nothing to train on" in said


def test_only_a_validation_set(tmp_path: Path, raw: Path, capsys) -> None:
    downloads.scan(tmp_path / "Brats17ValidationData", "Brats17_UAB_3456_1", downloads.brain(1), label=False)
    assert "only 1 without (Brats17_UAB_3456_1)" in refused("brats2017", tmp_path / "Brats17ValidationData", capsys)


def test_images_that_are_called_like_masks_in_a_folder_of_images(tmp_path: Path, raw: Path) -> None:
    root = downloads.abdomenct1k(tmp_path / "download")
    for path in list(root.rglob("*_0000.nii.gz")):
        path.rename(path.with_name(path.name.replace("_0000.nii", ".nii")))
    assert main(["abdomenct1k", str(root), "-np", "1"]) == 0
    assert len(list(raw.rglob("labelsT?/*"))) == 3


def test_images_that_are_called_like_masks_anywhere(tmp_path: Path, raw: Path, capsys) -> None:
    root = downloads.abdomenct1k(tmp_path / "download")
    shutil.rmtree(root / "Mask")
    (root / "data").mkdir()
    for path in list(root.rglob("*_0000.nii.gz")):
        path.rename(root / "data" / path.name.replace("_0000.nii", ".nii"))
    said = refused("abdomenct1k", root, capsys)
    assert "the name tells an image from a mask" in said


def relabel(root: Path, pattern: str, values: dict[int, int]) -> None:
    """Change label values in every file of that name."""
    for path in list(root.rglob(pattern)):
        if path.suffix == ".mha":
            import SimpleITK as sitk

            image = sitk.ReadImage(str(path))
            voxels = sitk.GetArrayFromImage(image)
            changed = sitk.GetImageFromArray(np.vectorize(lambda value: values.get(value, value))(voxels).astype(voxels.dtype))
            changed.CopyInformation(image)
            sitk.WriteImage(changed, str(path), True)
        else:
            label = nib.load(path)
            voxels = np.asarray(label.dataobj)
            changed = np.vectorize(lambda value: values.get(value, value))(voxels).astype(voxels.dtype)
            nib.save(nib.Nifti1Image(changed, label.affine), path)


@pytest.mark.parametrize(
    ("name", "pattern", "values", "message"),
    [
        ("brats2016", "*.OT.*.mha", {4: 3}, "BraTS 2016: none of 5 labels has value 4 (enhancing tumor), which the complete"),
        ("brats2016", "*.OT.*.mha", {3: 1}, "BraTS 2016: none of 5 labels has value 3 (necrosis and non-enhancing tumor)"),
        ("brats2017", "*_seg.nii.gz", {4: 1}, "BraTS 2017: none of 4 labels has value 4 (enhancing tumor)"),
        ("brats2017", "*_seg.nii.gz", {2: 1, 4: 1}, "value 2 (edema), 4 (enhancing tumor)"),
        ("brats2021", "*_seg.nii.gz", {4: 2}, "BraTS 2021: none of 3 labels has value 4 (enhancing tumor)"),
        ("abdomenct1k", "Case_?????.nii.gz", {4: 0}, "AbdomenCT-1K: none of 3 labels has value 4 (pancreas)"),
        ("amos22", "labels*/*.nii.gz", {15: 14}, "AMOS22: none of 4 labels has value 15 (prostate or uterus)"),
    ],
)
def test_value_that_no_label_has(
    name: str, pattern: str, values: dict[int, int], message: str, tmp_path: Path, raw: Path, capsys
):
    root = downloads.LAYOUTS[name](tmp_path / "download")
    relabel(root, pattern, values)
    assert main([name, str(root), "-np", "1", "--test-fraction", "0"]) == 0
    assert message in capsys.readouterr().out
    (folder,) = raw.iterdir()
    assert [w for w in json.loads((folder / "conversion_report.json").read_text())["warnings"] if message in w]


@pytest.mark.parametrize("name", downloads.LAYOUTS)
def test_no_such_warning_where_one_case_has_it(name: str, tmp_path: Path, raw: Path, capsys) -> None:
    root = downloads.LAYOUTS[name](tmp_path / "download")
    assert main([name, str(root), "-np", "1", "--test-fraction", "0"]) == 0
    assert "labels has value" not in capsys.readouterr().out
