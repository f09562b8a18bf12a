"""The laid-out downloads: real voxels in the downloads' own layout, made once per test session, copied per test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"


@pytest.fixture(scope="session")
def laid_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """brats2016, brats2017 and abdomenct1k below one folder; not to be changed."""
    tool = SHARED / "tools" / "lay_out_raw.py"
    if not tool.exists():
        pytest.skip(f"{tool} is absent: it lays out the real volumes of shared/data")
    folder = tmp_path_factory.mktemp("downloads")
    subprocess.run([sys.executable, tool, folder, "--crop", "48"], check=True, capture_output=True)
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
