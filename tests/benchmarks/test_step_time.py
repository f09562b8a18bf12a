from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
SMALL = ["--size", "16", "16", "--features", "4", "8", "8", "--batch", "1", "--rounds", "3", "--warmup", "1", "--device", "cpu"]


@pytest.fixture
def step_time(monkeypatch):
    for variable in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{variable}", "")  # put back after the benchmark has set it
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("step_time")


def test_measures_every_trainer_against_nnunets(step_time, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(step_time, "peak_memory", lambda name, options: 200 if name == step_time.REFERENCE else 300)
    out = tmp_path / "results" / "out.json"
    assert step_time.main(["nnUNetTrainerSupCon", "nnUNetTrainerFESS_noDS", *SMALL, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    first, *others = report["results"]
    assert (first["trainer"], first["time_ratio"], first["memory_ratio"]) == ("nnUNetTrainer", 1, 1)
    assert [other["trainer"] for other in others] == ["nnUNetTrainerSupCon", "nnUNetTrainerFESS_noDS"]
    assert all(other["time_ratio"] > 0 and other["memory_ratio"] == 1.5 for other in others)
    assert report["machine"]["versions"].keys() == {"torch", "nnunetv2", "nnunet-fess"}
    assert "nnUNetTrainerSupCon" in capsys.readouterr().out


def test_the_ratio_is_the_median_of_the_rounds(step_time, monkeypatch):
    seconds = {"nnUNetTrainer": [1.0, 10.0, 2.0], "nnUNetTrainerFESS": [1.5, 11.0, 4.0]}
    monkeypatch.setattr(step_time, "step_times", lambda names, options: seconds)
    monkeypatch.setattr(step_time, "peak_memory", lambda name, options: 1)
    monkeypatch.setattr(step_time, "provenance", lambda device: {})
    options = step_time.argparse.Namespace(device="cpu", processes=1)
    assert step_time.measure(list(seconds), options)["results"][1]["time_ratio"] == 1.5


def test_memory_is_that_of_the_steps(step_time, monkeypatch):
    resident = iter([1000, 1700])
    monkeypatch.setattr(step_time, "_peak_resident", lambda: next(resident))
    options = step_time.argparse.Namespace(size=[16, 16], features=[4, 8, 8], batch=1, classes=3, device="cpu", warmup=1)
    assert step_time._peak_memory("nnUNetTrainer", options) == 700


@pytest.mark.slow
def test_the_peak_of_a_process_is_its_own(step_time):
    held = bytearray(2**30)  # more than any of the steps needs
    options = step_time.argparse.Namespace(size=[32, 32], features=[4, 8, 8], batch=1, classes=3, device="cpu", warmup=1)
    assert 0 < step_time.peak_memory("nnUNetTrainer", options) < len(held)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nnUNetTrainerFES"], "Did you mean nnUNetTrainerFESS"),
        (["nnUNetTrainerFESS", "--features", "4", "8"], "--features takes at least 3 stages"),
        (["nnUNetTrainerFESS", "--size", "16"], "--size takes 2 or 3 numbers of at least 8"),
    ],
)
def test_a_wrong_argument_ends_with_a_message(step_time, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        step_time.main([*arguments, "--device", "cpu"])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
