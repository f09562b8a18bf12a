"""A dataset is found by number, name or path, in the folder that is meant."""

import os
from pathlib import Path

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.folders import expanded, find_dataset, folder, refuse_overlap, resolved


@pytest.fixture
def raw(tmp_path, monkeypatch):
    root = tmp_path / "raw ä"
    for name in ("Dataset004_Hippocampus", "Dataset517_A", "Dataset518_B", "Dataset518_C"):
        (root / name).mkdir(parents=True)
    monkeypatch.setenv("nnUNet_raw", str(root))
    return root


@pytest.mark.parametrize("name", [4, "4", "004", "0004", "Dataset004_Hippocampus"])
def test_number_and_name(raw, name):
    assert find_dataset(name, "nnUNet_raw") == raw / "Dataset004_Hippocampus"


def test_path(raw, tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_raw")
    assert find_dataset(raw / "Dataset517_A", "nnUNet_raw") == raw / "Dataset517_A"


def test_a_given_folder_takes_precedence(raw, tmp_path):
    (tmp_path / "other" / "Dataset004_Other").mkdir(parents=True)
    assert find_dataset(4, "nnUNet_raw", tmp_path / "other").name == "Dataset004_Other"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("5", r"found none.*Dataset517_A"),
        ("518", "found Dataset518_B, Dataset518_C"),
        ("Dataset518_X", "found none"),
        ("9" * 5000, "found none"),
    ],
)
def test_none_or_several_are_refused(raw, name, message):
    with pytest.raises(UserError, match=message):
        find_dataset(name, "nnUNet_raw")


def test_an_unset_variable_is_told(monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)
    with pytest.raises(UserError, match=r"nnUNet_results is not set.*trained models"):
        folder("nnUNet_results")


@pytest.mark.parametrize("value", ['"/data"', "'/data'", '/data"', "“/data”"])
def test_quotes_in_the_value_are_told(monkeypatch, value):
    monkeypatch.setenv("nnUNet_raw", value)
    with pytest.raises(UserError, match="quotes"):
        folder("nnUNet_raw")


@pytest.mark.parametrize("value", ["$HOME/data", "${HOME}/data", "%USERPROFILE%/data", "/data\r"])
def test_what_a_shell_would_have_replaced_is_told(monkeypatch, value):
    monkeypatch.setenv("nnUNet_raw", value)
    with pytest.raises(UserError, match="a shell would have"):
        folder("nnUNet_raw")


@pytest.mark.parametrize("value", [" /data", "/data ", "\t/data"])
def test_a_space_at_the_end_is_told(monkeypatch, value):
    monkeypatch.setenv("nnUNet_raw", value)
    with pytest.raises(UserError, match="space is part of the name"):
        folder("nnUNet_raw")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file", "file is a file"),
        ("file/below/it", "file/below/it, but .*file is a file"),
        ("broken", "broken is a link to nowhere, which is not there"),
        ("circle", "circle is a link to back"),
        ("circle/below", "circle is a link to back"),
    ],
)
def test_what_can_never_be_a_folder_is_told(monkeypatch, tmp_path, name, message):
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("back")
    (tmp_path / "back").symlink_to("circle")
    set_folders(monkeypatch, tmp_path, raw="raw", results=name)
    with pytest.raises(UserError, match=message):
        folder("nnUNet_results")
    with pytest.raises(UserError, match=message):
        refuse_overlap()


def test_paths_that_pathlib_cannot_resolve_stay(tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    assert resolved(tmp_path / "circle") == tmp_path / "circle"
    assert expanded("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_folder(raw, name):
    with pytest.raises(UserError, match="name of the dataset is empty"):
        find_dataset(name, "nnUNet_raw")


def test_a_dollar_in_a_name_is_a_name(monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/share$/raw 100%")
    assert str(folder("nnUNet_raw")) == "/share$/raw 100%"


def set_folders(monkeypatch, tmp_path, **names):
    for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(variable, raising=False)
    for kind, name in names.items():
        monkeypatch.setenv(f"nnUNet_{kind}", str(tmp_path / name))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"raw": "a", "preprocessed": "a"}, "nnUNet_raw and nnUNet_preprocessed are the same folder"),
        ({"raw": "a", "results": "b/../a"}, "nnUNet_raw and nnUNet_results are the same folder"),
        ({"preprocessed": "a", "results": "link"}, "nnUNet_preprocessed and nnUNet_results are the same folder"),
        ({"raw": "a", "preprocessed": "a/b"}, r"nnUNet_preprocessed \(.*\) lies in nnUNet_raw"),
        ({"raw": "a/b/c", "results": "a"}, r"nnUNet_raw \(.*\) lies in nnUNet_results"),
        ({"raw": "b", "results": '"'}, "quotes"),
    ],
)
def test_folders_that_are_not_apart_are_refused(monkeypatch, tmp_path, names, message):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    set_folders(monkeypatch, tmp_path, **{kind: name for kind, name in names.items() if name != '"'})
    if '"' in names.values():
        monkeypatch.setenv("nnUNet_results", '"/x"')
    with pytest.raises(UserError, match=message):
        refuse_overlap()


def test_folders_side_by_side_are_right(monkeypatch, tmp_path):
    set_folders(monkeypatch, tmp_path, raw="nnUNet", preprocessed="nnUNet_preprocessed", results="nnUNet_results")
    refuse_overlap()
    refuse_overlap(tmp_path / "other")


def test_a_given_raw_folder_is_the_one_that_counts(monkeypatch, tmp_path):
    set_folders(monkeypatch, tmp_path, raw="raw", preprocessed="preprocessed")
    with pytest.raises(UserError, match="the same folder"):
        refuse_overlap(tmp_path / "preprocessed")


def test_a_folder_that_may_not_be_read_is_not_called_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read everything
    with pytest.raises(UserError, match=r"dataset 3: .*\(nnUNet_raw\) cannot be read: permission denied"):
        find_dataset(3, "nnUNet_raw")


@pytest.mark.parametrize("name", ["Dataset\0", "a\0b", "Dataset004_" + "a" * 300, "folder/" + "ä" * 200])
def test_what_no_folder_can_be_called_is_told(tmp_path, monkeypatch, name):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    with pytest.raises(UserError, match="no folder can have such a name"):
        find_dataset(name, "nnUNet_raw")
