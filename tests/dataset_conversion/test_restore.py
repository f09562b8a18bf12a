"""There and back: a label that was converted and restored is the challenge's own."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dataset_conversion import cli
from dataset_conversion.restore import inverse, main


@pytest.fixture
def predictions(laid_out: Path, raw: Path, tmp_path: Path):
    """Convert, and take the labels for predictions: `predictions("brats2017")` → their folder."""

    def make(name: str, *options: str) -> Path:
        assert cli.main([name, str(laid_out / name), "-np", "1", "--test-fraction", "0", *options]) == 0
        folder = shutil.copytree(next(raw.iterdir()) / "labelsTr", tmp_path / "predictions")
        (folder / "dataset.json").write_text("{}")  # nnU-Net leaves such files beside its predictions
        return Path(folder)

    return make


def test_labels_of_2017_come_back(predictions, laid_out: Path, tmp_path: Path) -> None:
    assert main([str(predictions("brats2017")), str(tmp_path / "out"), "-d", "517"]) == 0
    restored = sorted((tmp_path / "out").iterdir())
    assert len(restored) == 4
    for path in restored:
        (original,) = (laid_out / "brats2017").rglob(path.name.replace(".nii.gz", "_seg.nii.gz"))
        assert np.array_equal(np.asarray(nib.load(path).dataobj), np.asarray(nib.load(original).dataobj))
        assert np.array_equal(nib.load(path).affine, nib.load(original).affine)


def test_labels_of_2016_come_back_but_for_class_3(predictions, laid_out: Path, tmp_path: Path, capsys) -> None:
    assert main([str(predictions("brats2016")), str(tmp_path / "out"), "-d", "516", "--text", "ours"]) == 0
    assert "2016 labels 3 were merged into others and cannot come back" in capsys.readouterr().out
    scan = laid_out / "brats2016/BRATS2015_Training/HGG/brats_2013_pat0001_1"
    (flair,) = scan.rglob("*Flair*.mha")
    (truth,) = scan.rglob("*OT*.mha")
    restored = sitk.ReadImage(str(tmp_path / "out" / f"VSD.ours.{flair.name.split('.')[-2]}.mha"))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(truth)))
    assert np.array_equal(sitk.GetArrayFromImage(restored), np.where(expected == 3, 1, expected))
    assert restored.GetOrigin() == sitk.ReadImage(str(flair)).GetOrigin()


def test_whole_tumour_becomes_edema(predictions, tmp_path: Path) -> None:
    folder = predictions("brats2017", "--target", "whole-tumor", "--channels", "flair")
    assert main([str(folder), str(tmp_path / "out"), "-d", "Dataset517_BraTS2017"]) == 0
    for path in (tmp_path / "out").iterdir():
        assert set(np.unique(nib.load(path).dataobj)) == {0, 2}


def test_names_of_abdomenct1k_come_back(predictions, tmp_path: Path) -> None:
    assert main([str(predictions("abdomenct1k")), str(tmp_path / "out"), "-d", "519"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "Case_00001.nii.gz",
        "Case_00002.nii.gz",
        "Case_00011.nii.gz",
    }


def test_inverse_takes_the_first_of_the_merged() -> None:
    assert inverse({"0": 0, "2": 1, "1": 2, "4": 3, "3": 2}) == {0: 0, 1: 2, 2: 1, 3: 4}


def test_all_problems_at_once_and_nothing_written(predictions, tmp_path: Path, capsys) -> None:
    folder = predictions("brats2017")
    first, second, *_ = sorted(folder.glob("*.nii.gz"))
    image = nib.load(first)
    nib.save(nib.Nifti1Image(np.full(image.shape, 7, np.uint8), image.affine), first)
    second.rename(folder / "other.nii.gz")
    assert main([str(folder), str(tmp_path / "out"), "-d", "517"]) == 1
    error = capsys.readouterr().err
    assert "has label 7; 0, 1, 2, 3 expected" in error
    assert "is no case of Dataset517_BraTS2017" in error
    assert "2 of 4 predictions cannot be restored; nothing was written" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out", "-d", "517"], "nowhere: no such folder"),
        (["predictions", "predictions", "-d", "517"], "predictions exists and is not empty; choose another folder"),
        (["predictions", "out", "-d", "518"], "dataset 518: expected one folder Dataset518_* in"),
        (["predictions", "out", "-d", "."], "has no original_names.json: it was not made by nnunet_fess convert"),
        (["predictions", "out", "-d", "Dataset9"], "dataset Dataset9: expected one folder Dataset9 in"),
    ],
)
def test_refused(arguments: list[str], message: str, predictions, tmp_path: Path, monkeypatch, capsys) -> None:
    predictions("brats2017")
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    assert message in capsys.readouterr().err
