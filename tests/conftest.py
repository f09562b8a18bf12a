from __future__ import annotations

import signal
from pathlib import Path

import pytest

# A shell starts background jobs deaf to Ctrl-C, and their children inherit that; tests of Ctrl-C need processes that hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real volumes and golden values that lie beside a maintainer's checkout; nobody else needs them."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"{folder} with real data and golden values is not here")
    return folder
