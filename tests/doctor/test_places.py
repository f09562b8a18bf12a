from __future__ import annotations

import os
import re
import subprocess
from collections import namedtuple
from pathlib import Path

import pytest

from nnunet_fess.doctor import places

NAME = "nnUNet_raw"


@pytest.mark.parametrize(
    ("value", "level", "said"),
    [
        (None, "wrong", "not set"),
        ("", "wrong", "not set"),
        ("'{here}'", "wrong", "the quotes are part of the value"),
        ('{here}"', "wrong", "the quotes are part of the value"),
        (" {here}", "wrong", "begins or ends with a space"),
        ("{here}\nb", "wrong", "has the end of a line in it"),
        ("{here}/none", "wrong", "does not exist"),
        ("{here}/file/none", "wrong", "cannot be looked at: Not a directory"),
        ("{here}/broken", "wrong", "is a link to elsewhere, which is not there"),
        ("{here}/loop", "wrong", "cannot be looked at: Too many levels"),
        ("{here}/" + 300 * "x", "wrong", "cannot be looked at: File name too long"),
        ("%HOME%/raw", "wrong", "takes % literally"),
        ("{here}/file", "wrong", "is no folder"),
        ("~/raw", "wrong", "takes ~ and $ literally"),
        ("$HOME/raw", "wrong", "takes ~ and $ literally"),
        ("{here}/two words", "warning", "has a space in it"),
        (".", "warning", "is relative"),
        ("{here}", "fine", "GB free"),
    ],
)
def test_values(tmp_path, monkeypatch, value, level, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "two words").mkdir()
    (tmp_path / "broken").symlink_to("elsewhere")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(NAME, raising=False)
    if value is not None:
        monkeypatch.setenv(NAME, value.format(here=tmp_path))
    found = places.variable(NAME)
    assert found.level == level
    assert said in found.found


@pytest.mark.parametrize("evil", ["it's`touch gone`", 'a"; touch gone; "x', "a b", "x\\"])
def test_a_command_to_copy_makes_that_folder_and_nothing_else(tmp_path, monkeypatch, evil):
    monkeypatch.setenv(NAME, str(tmp_path / evil))
    command = re.search(r"\((mkdir .*)\)", places.variable(NAME).advice)[1]
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == [evil]


def test_an_unwritable_folder(tmp_path, monkeypatch):
    monkeypatch.setenv(NAME, str(tmp_path))
    monkeypatch.setattr(places.tempfile, "TemporaryFile", lambda **_: (_ for _ in ()).throw(PermissionError()))
    assert "cannot be written to" in places.variable(NAME).found


def test_looking_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv(NAME, str(tmp_path))
    places.variable(NAME)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("raw", "preprocessed", "said"),
    [
        ("a", "a", "nnUNet_raw is nnUNet_preprocessed"),
        ("a/b", "a", "nnUNet_raw lies in nnUNet_preprocessed"),
        ("a", "b", "apart"),
    ],
)
def test_equal_and_nested_folders(tmp_path, monkeypatch, raw, preprocessed, said):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / raw))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / preprocessed))
    monkeypatch.delenv("nnUNet_results", raising=False)
    assert said in places.apart().found


def disk_of(monkeypatch, gigabytes: float):
    usage = namedtuple("usage", "total used free")(gigabytes * 1e9, 0, gigabytes * 1e9)
    monkeypatch.setattr(places.shutil, "disk_usage", lambda path: usage)


def test_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    disk_of(monkeypatch, 1.5)
    assert "1.5 GB in nnUNet_results" in places.disk().found


@pytest.mark.parametrize(("gigabytes", "level"), [(0.064, "warning"), (16, "fine")])
def test_the_shared_memory_of_a_container(monkeypatch, tmp_path, gigabytes, level):
    disk_of(monkeypatch, gigabytes)
    assert places.shared_memory(tmp_path).level == level


def test_no_shared_memory_file_system(tmp_path):
    assert places.shared_memory(Path(os.devnull)).level == "fine"
