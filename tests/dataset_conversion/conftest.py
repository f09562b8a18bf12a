"""Downloads made once per test session and copied per test: synthetic ones anywhere, real ones where there are real volumes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import downloads
import pytest


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic brats2016, brats2017 and abdomenct1k below one folder; not to be changed."""
    folder = tmp_path_factory.mktemp("downloads")
    for name in ("brats2016", "brats2017", "abdomenct1k"):
        downloads.LAYOUTS[name](folder / name)
    return folder


@pytest.fixture(scope="session")
def laid_out(synthetic: Path) -> Path:
    """The downloads that a test converts; `test_cli` has the real ones, too."""
    return synthetic


@pytest.fixture(scope="session")
def real(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same downloads with real voxels; not to be changed."""
    folder = tmp_path_factory.mktemp("real")
    subprocess.run(
        [sys.executable, shared / "tools" / "lay_out_raw.py", folder, "--crop", "48"], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def download(laid_out: Path, tmp_path: Path):
    """Copies one of the downloads, to be damaged: `download("brats2017")` → its folder."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(laid_out / name, tmp_path / "downloads" / name))

    return copy


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty nnUNet_raw, with no other nnU-Net folder set."""
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "nnUNet_raw"
    folder.mkdir()
    monkeypatch.setenv("nnUNet_raw", str(folder))
    return folder
