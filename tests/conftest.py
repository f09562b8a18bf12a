from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real volumes and golden values that lie beside a maintainer's checkout; nobody else needs them."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"{folder} with real data and golden values is not here")
    return folder
