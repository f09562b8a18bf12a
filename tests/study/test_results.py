"""Records survive a round trip; what is damaged is named."""

from __future__ import annotations

import math

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.study.results import Case, Run, Step, read_cases, read_run, read_runs, write_cases, write_run, write_runs


def _run(results, **changes):
    values = {
        "id": "a",
        "dataset": "Dataset001_A",
        "configuration": "2d",
        "plans": "p",
        "trainer": "Dice",
        "trainer_name": "nnUNetTrainerDice_seed0",
        "seed": 0,
        "fold": 1,
        "size": 8,
        "repeat": 0,
        "nnunet_fold": 5,
        "training_cases": 8,
        "model": results / "nnUNet_results" / "x",
        "predictions": results / "runs" / "a" / "p",
        "truth": results.parent / "t",
        "dataset_json": results.parent / "dataset.json",
    }
    return Run(**{**values, **changes})


def test_a_run_comes_back(tmp_path):
    steps = (Step("nnUNetv2_train 'a b'", "2026-01-01T00:00:00+00:00", 12.5, 0, 800.0), Step("x", "2026", 1.5))
    run = _run(tmp_path, steps=steps, status="failed", reason="ä, “b”\nc", made_of={"trainer": "x"})
    write_run(tmp_path, run)
    assert read_run(tmp_path, "a") == run
    assert (run.seconds, run.peak_memory_mb, run.exit) == (14.0, 800.0, None)


def test_the_folder_can_be_moved(tmp_path):
    (tmp_path / "old").mkdir()
    write_run(tmp_path / "old", _run(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    run = read_run(tmp_path / "new", "a")
    assert run.predictions == tmp_path / "new" / "runs" / "a" / "p"
    assert run.truth == tmp_path / "t"


def test_runs_in_the_files_order(tmp_path):
    runs = [_run(tmp_path, id=name, seed=None if name == "b" else 0, size="all") for name in ("c", "b")]
    for run in runs:
        write_run(tmp_path, run)
    write_runs(tmp_path, runs)
    assert read_runs(tmp_path) == runs


def test_a_damaged_record_is_named(tmp_path):
    write_run(tmp_path, _run(tmp_path))
    (tmp_path / "runs" / "a" / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json cannot be read"):
        read_run(tmp_path, "a")
    assert read_run(tmp_path, "another") is None


def test_scores_come_back_to_the_last_bit(tmp_path):
    values = [{"dice": 1 / 3, "hd95": math.nan}, {"dice": 0.0, "hd95": 12.0}]
    runs = [_run(tmp_path), _run(tmp_path, seed=None)]
    cases = [Case.of(run, "ä,1", "whole tumor", value) for run, value in zip(runs, values, strict=True)]
    write_cases(tmp_path, cases, ["dice", "hd95"])
    header, first, *_ = (tmp_path / "cases.csv").read_text("utf-8").splitlines()
    assert header == "run,dataset,plans,trainer,seed,fold,size,repeat,case,structure,dice,hd95"
    assert first.endswith(",")
    back = list(read_cases(tmp_path))
    assert back[1] == cases[1]
    assert back[0].values["dice"] == 1 / 3
    assert math.isnan(back[0].values["hd95"])


def test_no_results_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="study run"):
        read_runs(tmp_path)
    with pytest.raises(UserError, match="study evaluate"):
        list(read_cases(tmp_path))
