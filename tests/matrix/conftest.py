from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from matrix.host import Host


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The datasets, made once; processes of pytest-xdist share them, each has a server of its own.

    MATRIX_FOLDER in the environment is a folder where they stay for the next run.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    folder = Path(os.environ.get("MATRIX_FOLDER") or folder / "matrix")
    folder.mkdir(exist_ok=True)
    with Host(folder) as made:
        with FileLock(folder / "lock"):
            if not (folder / "prepared").exists():
                made.prepare()
                (folder / "prepared").touch()
        yield made
