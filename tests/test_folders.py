"""A dataset is found by number, name or path, in the folder that is meant."""

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.folders import find_dataset, folder


@pytest.fixture
def raw(tmp_path, monkeypatch):
    root = tmp_path / "raw ä"
    for name in ("Dataset004_Hippocampus", "Dataset517_A", "Dataset518_B", "Dataset518_C"):
        (root / name).mkdir(parents=True)
    monkeypatch.setenv("nnUNet_raw", str(root))
    return root


@pytest.mark.parametrize("name", [4, "4", "004", "Dataset004_Hippocampus"])
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
    [("5", r"found none.*Dataset517_A"), ("518", "found Dataset518_B, Dataset518_C"), ("Dataset518_X", "found none")],
)
def test_none_or_several_are_refused(raw, name, message):
    with pytest.raises(UserError, match=message):
        find_dataset(name, "nnUNet_raw")


def test_an_unset_variable_is_told(monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)
    with pytest.raises(UserError, match=r"nnUNet_results is not set.*trained models"):
        folder("nnUNet_results")


@pytest.mark.parametrize("value", ['"/data"', "'/data'"])
def test_quotes_in_the_value_are_told(monkeypatch, value):
    monkeypatch.setenv("nnUNet_raw", value)
    with pytest.raises(UserError, match="quotes"):
        folder("nnUNet_raw")
