from __future__ import annotations

import os

import pytest

from nnunet_fess.doctor import trainers
from nnunet_fess.extension import DIRECTORY, VARIABLE


@pytest.mark.parametrize(
    ("value", "level", "said"),
    [
        (None, "wrong", "not set"),
        ("/elsewhere", "wrong", "is not in it"),
        (f"'{DIRECTORY}'", "wrong", "quotes"),
        (f"{DIRECTORY}{os.pathsep}/no/such/folder", "warning", "/no/such/folder does not exist"),
        (f"“{DIRECTORY}”", "wrong", "quotes"),
        (str(DIRECTORY), "fine", "1 folder, ours among them"),
    ],
)
def test_the_variable(monkeypatch, value, level, said):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    found = trainers.variable()
    assert found.level == level
    assert said in found.found


@pytest.mark.skipif(os.name != "posix", reason="links need rights elsewhere")
def test_a_link_to_itself_is_a_folder_that_does_not_exist(tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.setenv(VARIABLE, os.pathsep.join([str(tmp_path / "loop"), str(DIRECTORY)]))
    assert "loop does not exist" in trainers.variable().found


def test_nnunet_finds_ours(monkeypatch):
    monkeypatch.setenv(VARIABLE, str(DIRECTORY))
    assert trainers.found().level == "fine"


def test_nnunet_does_not_find_ours_without_the_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    found = trainers.found()
    assert found.level == "wrong"
    assert "nnunet_fess env" in found.advice


def test_a_folder_before_ours_that_fails_to_import_is_told(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.setenv(VARIABLE, os.pathsep.join([str(tmp_path), str(DIRECTORY)]))
    found = trainers.found()
    assert found.level == "wrong"
    assert "operator torchvision::nms does not exist" in found.found
    assert "pip install --upgrade torch torchvision" in found.advice


def test_plug_ins_are_listed_and_what_is_wrong_with_them_is_told(tmp_path, monkeypatch):
    good, broken = tmp_path / "good.py", tmp_path / "broken.py"
    good.write_text(
        "from nnunet_fess.plugin import RegionTerm\n"
        "TERMS = (RegionTerm('MyTerm', 'a loss of mine', lambda settings, host: None),)\n"
    )
    broken.write_text("raise RuntimeError('no licence found')\n")
    monkeypatch.setenv("nnUNet_fess_terms", os.pathsep.join([str(good), str(broken)]))
    listed, refused = trainers.plugins()
    assert (listed.level, refused.level) == ("fine", "wrong")
    assert "MyTerm" in listed.found
    assert "no licence found" in refused.found


def test_no_plug_ins_are_fine(monkeypatch):
    monkeypatch.delenv("nnUNet_fess_terms", raising=False)
    assert [found.level for found in trainers.plugins()] == ["fine"]
