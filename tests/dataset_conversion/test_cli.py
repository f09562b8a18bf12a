"""The command as a user runs it, on synthetic downloads and, where there are real volumes, on those."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from dataset_conversion.cli import main, make_parser
from dataset_conversion.datasets import datasets

DATASETS = {
    "brats2016": ["brats2016"],
    "brats2017": ["brats2017"],
    "brats2016_2017": ["brats2016", "brats2017"],
    "abdomenct1k": ["abdomenct1k"],
}
FOLDERS = {
    "brats2016": "Dataset516_BraTS2016",
    "brats2017": "Dataset517_BraTS2017",
    "brats2016_2017": "Dataset518_BraTS2016and2017",
    "abdomenct1k": "Dataset519_AbdomenCT1K",
}


@pytest.fixture(scope="module", params=["synthetic", "real"])
def laid_out(request: pytest.FixtureRequest) -> Path:
    """The synthetic downloads, then the real ones."""
    return request.getfixturevalue(request.param)


def convert(name: str, laid_out: Path, raw: Path, *options: str) -> Path:
    """Convert one laid-out download in this process; returns the dataset folder."""
    code = main([name, *(str(laid_out / source) for source in DATASETS[name]), "--raw", str(raw), "-np", "1", *options])
    assert code == 0
    return raw / FOLDERS[name]


def ids(folder: Path) -> set[str]:
    """Case ids of a folder of images or labels."""
    return {re.sub(r"(_\d{4})?\.nii\.gz$", "", path.name) for path in folder.glob("*.nii.gz")}


@pytest.mark.parametrize("name", DATASETS)
def test_writes_what_nnunet_wants(name: str, laid_out: Path, raw: Path) -> None:
    folder = convert(name, laid_out, raw)
    description = json.loads((folder / "dataset.json").read_text())
    assert description["numTraining"] == len(ids(folder / "labelsTr"))
    assert ids(folder / "imagesTr") == ids(folder / "labelsTr")
    assert ids(folder / "labelsTs") <= ids(folder / "imagesTs")
    assert not ids(folder / "imagesTr") & ids(folder / "imagesTs")
    channels = len(description["channel_names"])
    assert len(list((folder / "imagesTr").iterdir())) == channels * description["numTraining"]
    for fold in json.loads((folder / "splits_final.json").read_text()):
        assert set(fold["train"]) | set(fold["val"]) == ids(folder / "imagesTr")
        assert not set(fold["train"]) & set(fold["val"])


@pytest.mark.parametrize("name", DATASETS)
def test_no_case_id_ends_in_four_digits(name: str, laid_out: Path, raw: Path) -> None:
    folder = convert(name, laid_out, raw)
    assert not [id for id in ids(folder / "labelsTr") | ids(folder / "imagesTs") if re.search(r"\d{4}$", id)]


@pytest.mark.parametrize("name", DATASETS)
def test_labels_are_uint8_on_the_grid_of_the_image(name: str, laid_out: Path, raw: Path) -> None:
    folder = convert(name, laid_out, raw)
    for path in (folder / "labelsTr").iterdir():
        label = nib.load(path)
        image = nib.load(folder / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz"))
        assert label.get_data_dtype() == np.uint8
        assert label.header.get_slope_inter() in {(1.0, 0.0), (None, None)}
        assert np.array_equal(label.affine, image.affine)


@pytest.mark.parametrize("seed", range(5))
def test_no_patient_is_on_two_sides(seed: int, laid_out: Path, raw: Path) -> None:
    folder = convert("brats2016_2017", laid_out, raw, "--seed", str(seed))
    cases = json.loads((folder / "conversion_report.json").read_text())["cases"]
    groups = lambda ids: {cases[id]["group"] for id in ids}  # noqa: E731
    assert not groups(ids(folder / "imagesTr")) & groups(ids(folder / "imagesTs"))
    for fold in json.loads((folder / "splits_final.json").read_text()):
        assert not groups(fold["train"]) & groups(fold["val"])


def test_one_patient_in_both_editions_and_the_renumbered_2013_block_are_groups(laid_out: Path, raw: Path) -> None:
    folder = convert("brats2016_2017", laid_out, raw)
    cases = json.loads((folder / "conversion_report.json").read_text())["cases"]
    members: dict[str, set[str]] = {}
    for id, case in cases.items():
        members.setdefault(case["group"], set()).add(id)
    assert sorted(map(sorted, members.values())) == [
        ["BraTS16_2013_0001_1_HGG", "BraTS16_2013_0002_1_HGG", "BraTS17_2013_2_1_HGG"],
        ["BraTS16_2013_0001_1_LGG"],
        ["BraTS16_TCIA_153_0109_HGG", "BraTS16_TCIA_153_0181_HGG", "BraTS17_TCIA_153_1_HGG"],
        ["BraTS17_CBICA_AAB_1_HGG"],
        ["BraTS17_TCIA_621_1_LGG"],
    ]


@pytest.mark.parametrize(
    ("target", "values"), [("regions", {0: 0, 1: 2, 2: 1, 3: 2, 4: 3}), ("whole-tumor", {0: 0, 1: 1, 2: 1, 3: 1, 4: 1})]
)
def test_label_values_of_2016(target: str, values: dict[int, int], laid_out: Path, raw: Path) -> None:
    folder = convert("brats2016", laid_out, raw, "--target", target, "--test-fraction", "0")
    source = next((laid_out / "brats2016/BRATS2015_Training/HGG/brats_2013_pat0001_1").rglob("*.OT.*.mha"))
    before = sitk.GetArrayFromImage(sitk.ReadImage(str(source)))
    after = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "labelsTr/BraTS16_2013_0001_1_HGG.nii.gz")))
    assert {3, 4} <= set(np.unique(before))
    assert np.array_equal(np.vectorize(values.__getitem__)(before), after)


def test_published_setting_of_fess(laid_out: Path, raw: Path) -> None:
    folder = convert("brats2017", laid_out, raw, "--channels", "flair", "--target", "whole-tumor")
    description = json.loads((folder / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "Flair"}
    assert description["labels"] == {"background": 0, "whole tumor": 1}


def test_image_without_mask_is_a_test_case_without_label(laid_out: Path, raw: Path) -> None:
    folder = convert("abdomenct1k", laid_out, raw)
    assert "AbdomenCT1K_00500_CT" in ids(folder / "imagesTs") - ids(folder / "labelsTs")


def test_sform_that_itk_refuses_is_repaired(laid_out: Path, raw: Path) -> None:
    source = next((laid_out / "abdomenct1k").rglob("Case_00011_0000.nii.gz"))
    with pytest.raises(RuntimeError, match="orthonormal"):
        sitk.ReadImage(str(source))
    folder = convert("abdomenct1k", laid_out, raw)
    (written,) = folder.glob("images*/AbdomenCT1K_00011_CT_0000.nii.gz")
    assert sitk.ReadImage(str(written)).GetSize() == nib.load(source).shape
    assert np.array_equal(np.asarray(nib.load(written).dataobj), np.asarray(nib.load(source).dataobj))


@pytest.mark.parametrize(("name", "option"), [("--target", "regions"), ("--channels", "flair")])
def test_option_that_makes_no_sense_for_abdomenct1k(name: str, option: str, laid_out: Path, raw: Path, capsys) -> None:
    assert main(["abdomenct1k", str(laid_out / "abdomenct1k"), "--raw", str(raw), name, option]) == 1
    assert f"{name} {option}: abdomenct1k has" in capsys.readouterr().err


def test_module_runs_as_a_command(laid_out: Path, raw: Path) -> None:
    command = [sys.executable, "-m", "dataset_conversion", "brats2017", str(laid_out / "brats2017"), "--dry-run"]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "nnUNet_raw": str(raw)})
    assert result.returncode == 0, result.stderr
    assert "4 scans of 4 patients" in result.stdout
    assert not list(raw.iterdir())


@pytest.mark.parametrize("name", datasets())
def test_page_of_a_dataset_shows_commands_that_exist(name: str) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / f"convert-{name}.md"
    commands = [line.split()[3:] for line in page.read_text().splitlines() if line.startswith("$ nnunet_fess convert")]
    assert commands
    for command in commands:
        assert make_parser("").parse_args(command).dataset == name


@pytest.mark.slow
@pytest.mark.parametrize("name", DATASETS)
def test_nnunet_verifies_it(name: str, laid_out: Path, raw: Path, tmp_path: Path) -> None:
    folder = convert(name, laid_out, raw)
    environment = {**os.environ, "nnUNet_raw": str(raw), "OMP_NUM_THREADS": "1"}
    environment |= {f"nnUNet_{kind}": str(tmp_path / kind) for kind in ("preprocessed", "results")}
    command = [str(Path(sys.executable).with_name("nnUNetv2_plan_and_preprocess")), "-d", folder.name[7:10]]
    command += ["--verify_dataset_integrity", "-c", "3d_fullres", "-np", "1", "-npfp", "1"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "mismatch" not in result.stdout
    copied = tmp_path / "preprocessed" / folder.name / "splits_final.json"
    assert copied.read_bytes() == (folder / "splits_final.json").read_bytes()
