"""AMOS22: the folder tells the role, the number tells the modality."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import nibabel as nib
import numpy as np
import pytest

from dataset_conversion.cli import main
from dataset_conversion.datasets.amos22 import LABELS, match
from dataset_conversion.facts import LABEL


@pytest.mark.parametrize(
    ("path", "id", "role"),
    [
        ("amos22/imagesTr/amos_0001.nii.gz", "AMOS22_0001_CT", "image"),
        ("amos22/labelsTr/amos_0001.nii.gz", "AMOS22_0001_CT", LABEL),
        ("amos22/labelsVa/amos_0600.nii.gz", "AMOS22_0600_MR", LABEL),
        ("amos22/imagesTs/amos_0500.nii.gz", "AMOS22_0500_CT", "image"),
    ],
)
def test_role(path: str, id: str, role: str) -> None:
    found = match(PurePath("/data") / path)
    assert found is not None
    assert (found[0].id, found[1]) == (id, role)


def test_file_elsewhere_has_no_role() -> None:
    assert match(PurePath("/data/amos22/amos_0001.nii.gz")) is None


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """Two CT and one MR to train on, one more CT for validation and one MR without label."""
    rng = np.random.default_rng(0)
    root = tmp_path / "amos22"
    for subset, numbers in (("Tr", (1, 4, 507)), ("Va", (8,)), ("Ts", (600,))):
        for number in numbers:
            image = rng.normal(scale=100, size=(12, 13, 14)).astype(np.float32)
            label = rng.integers(0, len(LABELS), image.shape).astype(np.uint8)
            for kind, voxels in (("images", image), ("labels", label)):
                if kind == "images" or subset != "Ts":
                    path = root / f"{kind}{subset}" / f"amos_{number:04d}.nii.gz"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)
    return root


def test_conversion(download: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["amos22", str(download), "-np", "1", "--test-fraction", "0"]) == 0
    folder = raw / "Dataset521_AMOS22"
    assert sorted(path.name for path in (folder / "labelsTr").iterdir()) == [
        f"AMOS22_{name}.nii.gz" for name in ("0001_CT", "0004_CT", "0008_CT", "0507_MR")
    ]
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["AMOS22_0600_MR_0000.nii.gz"]
    description = json.loads((folder / "dataset.json").read_text())
    assert sorted(description["labels"].values()) == list(range(16))
    said = capsys.readouterr().out
    assert "AMOS22_0001_CT: spacing is (1, 1, 1) mm, which no CT has" in said
    assert "AMOS22_0507_MR: spacing" not in said  # MR may have


def test_missing_label_of_a_training_case(download: Path, raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (download / "labelsTr/amos_0004.nii.gz").unlink()
    assert main(["amos22", str(download), "-np", "1"]) == 1
    assert "no file for label (found: image)" in capsys.readouterr().err
