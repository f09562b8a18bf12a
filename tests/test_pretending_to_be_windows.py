"""What we do otherwise where the system is no POSIX one, with this system's name changed for the module that asks."""

from __future__ import annotations

import os
import sys
import time
from types import ModuleType
from typing import Any

import pytest

from nnunet_fess import files
from nnunet_fess.processes import guarded


class _NotPosix:
    """The module os, of a system called nt; without what Windows does not have."""

    name = "nt"

    def __getattr__(self, name: str) -> Any:
        if name in ("killpg", "setsid", "fork"):
            raise AttributeError(name)
        return getattr(os, name)


@pytest.fixture
def windows(monkeypatch):
    def pretend(module: ModuleType) -> None:
        monkeypatch.setattr(module, "os", _NotPosix())

    return pretend


def test_a_file_is_flushed_though_a_folder_cannot_be(windows, tmp_path, monkeypatch):
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: opened.append((path, flags)) or real(path, flags))
    windows(files)
    with files.whole(tmp_path / "checkpoint", durable=True) as unfinished:
        unfinished.write_bytes(b"content")
    assert (tmp_path / "checkpoint").read_bytes() == b"content"
    assert [flags for _, flags in opened] == [os.O_RDWR], "Windows flushes only what may be written"


def test_a_command_is_ended(windows, tmp_path):
    windows(guarded)
    start = time.monotonic()
    with (tmp_path / "log").open("wb") as log:
        command = guarded.Guarded([sys.executable, "-c", "import time; time.sleep(600)"], log, os.environ)
        assert command.poll() is None
        guarded.end([command])
    assert command.poll()
    assert time.monotonic() - start < 300


def test_a_commands_exit_code(windows, tmp_path):
    windows(guarded)
    with (tmp_path / "log").open("wb") as log:
        command = guarded.Guarded([sys.executable, "-c", "print('said'); raise SystemExit(3)"], log, os.environ)
        assert command.wait(300) == 3
        command.close()
    assert (tmp_path / "log").read_text().strip() == "said"
