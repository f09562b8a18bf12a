"""AbdomenCT-1K: `_0000` makes the image."""

from __future__ import annotations

import json
from pathlib import Path, PurePath

import pytest

from dataset_conversion.cli import main
from dataset_conversion.datasets.abdomenct1k import match
from dataset_conversion.facts import LABEL


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("AbdomenCT-1K-ImagePart1/AbdomenCT-1K-ImagePart1/Case_00001_0000.nii.gz", "ct"),
        ("Mask/Case_00001.nii.gz", LABEL),
        ("labels/Case_00001.nii.gz", LABEL),
        ("imagesTr/Case_00001_0000.nii", "ct"),
    ],
)
def test_role(path: str, role: str) -> None:
    found = match(PurePath("/data") / path)
    assert found is not None
    assert (found[0].id, found[1]) == ("AbdomenCT1K_00001_CT", role)


@pytest.mark.parametrize("name", ["Case_1_0000.nii.gz", "Case_00001_0001.nii.gz", "Case_00001_0000.nii.gz.part"])
def test_no_role(name: str) -> None:
    assert match(PurePath("/data") / name) is None


def test_reader_makes_orientations_one(laid_out: Path, raw: Path) -> None:
    assert main(["abdomenct1k", str(laid_out / "abdomenct1k"), "-np", "1"]) == 0
    description = json.loads((raw / "Dataset519_AbdomenCT1K/dataset.json").read_text())
    assert description["overwrite_image_reader_writer"] == "NibabelIOWithReorient"
    assert description["channel_names"] == {"0": "CT"}  # the name that makes nnU-Net clip Hounsfield units
