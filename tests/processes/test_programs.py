"""Programs are found in the user's order; this installation's own where PATH does not have them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.processes.programs import search_path


def _program(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_an_environment_that_is_not_activated_comes_first(tmp_path, monkeypatch):
    _program(tmp_path / "a", "prog")
    monkeypatch.setenv("PATH", str(tmp_path / "a"))
    assert search_path(["prog"]).split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_the_users_order_stays(tmp_path, monkeypatch):
    _program(tmp_path / "a", "prog")
    own = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "a"), own]))
    found = search_path(["prog"]).split(os.pathsep)
    assert found.index(str(tmp_path / "a")) < found.index(own)


def test_a_missing_program_is_named(monkeypatch, tmp_path):
    with pytest.raises(UserError, match="nnUNetv2_nobody was not found"):
        search_path(["nnUNetv2_nobody"])
