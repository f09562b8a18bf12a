from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def checkpoint_time(monkeypatch):
    for variable in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{variable}", "")  # put back after the benchmark has set it
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("checkpoint_time")


def test_measures_saving_and_loading_against_nnunets(checkpoint_time, tmp_path, capsys):
    out = tmp_path / "out.json"
    arguments = ["nnUNetTrainerSimCLR", "--features", "4", "8", "8", "--rounds", "2", "--json", str(out)]
    assert checkpoint_time.main(arguments) == 0
    report = json.loads(out.read_text())
    first, second = report["results"]
    assert (first["trainer"], first["save_ratio"], first["load_ratio"]) == ("nnUNetTrainer", 1, 1)
    assert second["trainer"] == "nnUNetTrainerSimCLR"
    assert all(second[key] > 0 for key in ("save_ratio", "save_ratio_flushed", "load_ratio"))
    assert report["settings"]["bytes"] > 0
    assert "nnUNetTrainerSimCLR" in capsys.readouterr().out


def test_the_ratio_is_the_median_of_the_rounds(checkpoint_time):
    assert checkpoint_time.ratio([1.5, 11.0, 4.0], [1.0, 10.0, 2.0]) == 1.5


def test_a_wrong_name_ends_with_a_message(checkpoint_time, capsys):
    with pytest.raises(SystemExit) as end:
        checkpoint_time.main(["nnUNetTrainerFES"])
    assert end.value.code == 2
    assert "Did you mean nnUNetTrainerFESS" in capsys.readouterr().err
