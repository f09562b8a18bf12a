"""How images that need no repair get there: copies, links, or left where they are."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from defects import (
    T1,
    other_qform,
)

from dataset_conversion import write
from dataset_conversion.cli import main


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said to arguments that are refused."""
    assert main([*arguments, "-np", "1"]) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("transfer", ["hardlink", "symlink"])
def test_transfer_by_link(transfer: str, laid_out: Path, raw: Path) -> None:
    assert main(["brats2017", str(laid_out / "brats2017"), "-np", "1", "--transfer", transfer]) == 0
    (image,) = raw.rglob("BraTS17_TCIA_153_1_HGG_0000.nii.gz")
    assert image.samefile(laid_out / "brats2017" / T1)
    assert image.is_symlink() == (transfer == "symlink")


@pytest.mark.parametrize("name", ["brats2016", "brats2017"])
def test_transfer_by_reference(name: str, laid_out: Path, raw: Path) -> None:
    assert main([name, str(laid_out / name), "-np", "1", "--transfer", "reference"]) == 0
    (folder,) = raw.iterdir()
    assert not list(folder.glob("imagesTr/*"))
    entries = json.loads((folder / "dataset.json").read_text())["dataset"]
    assert set(entries) == {path.name[:-7] for path in (folder / "labelsTr").iterdir()}
    for entry in entries.values():
        assert all(Path(image).is_relative_to(laid_out) for image in entry["images"])
        assert (folder / entry["label"]).is_file()


def test_reference_is_not_used_where_a_header_is_repaired(download, raw: Path) -> None:
    root = download("brats2017")
    other_qform(root)
    assert main(["brats2017", str(root), "-np", "1", "--transfer", "reference", "--test-fraction", "0"]) == 0
    entry = json.loads((raw / "Dataset517_BraTS2017/dataset.json").read_text())["dataset"]["BraTS17_TCIA_153_1_HGG"]
    assert entry["images"][3] == "imagesTr/BraTS17_TCIA_153_1_HGG_0003.nii.gz"


def test_hard_link_to_another_disk(
    laid_out: Path, raw: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(write.os, "link", refuse)
    error = refused(["brats2017", str(laid_out / "brats2017"), "--transfer", "hardlink"], capsys)
    assert "cannot be hard-linked (Invalid cross-device link); use --transfer copy or symlink" in error
    assert not list(raw.iterdir())
