import json

import pytest

from nnunet_fess.demo.report import Score, seconds_per_step, table, write_results

SCORES = {
    "nnUNetTrainerFESS": Score({"whole tumor": 0.8125, "tumor core": 0.5}, 0.25),
    "nnUNetTrainer": Score({"whole tumor": 0.9, "tumor core": 1.0}, 0.125),
}


def test_seconds_per_step_is_the_median_epoch_over_its_iterations(tmp_path):
    lines = [f"2026-01-01 00:00:00.0: Epoch time: {seconds} s" for seconds in (100.0, 10.0, 12.5)]
    (tmp_path / "training_log_2026.txt").write_text("\n".join(lines))
    (tmp_path / "debug.json").write_text(json.dumps({"num_iterations_per_epoch": "50"}))
    assert seconds_per_step(tmp_path) == pytest.approx(12.5 / 50)


def test_table_has_a_line_per_trainer_and_aligned_columns():
    lines = table(SCORES).splitlines()
    assert lines[0].split("  ")[-1] == "seconds per step"
    assert lines[1].split() == ["nnUNetTrainerFESS", "0.812", "0.500", "0.250"]
    assert lines[2].split() == ["nnUNetTrainer", "0.900", "1.000", "0.125"]
    assert len({len(line) for line in lines}) == 1


def test_results_have_the_documented_shape(tmp_path):
    write_results(tmp_path / "results.json", SCORES, {"device": "cpu"})
    assert json.loads((tmp_path / "results.json").read_text()) == {
        "trainers": {
            "nnUNetTrainerFESS": {"dice": {"whole tumor": 0.8125, "tumor core": 0.5}, "seconds_per_step": 0.25},
            "nnUNetTrainer": {"dice": {"whole tumor": 0.9, "tumor core": 1.0}, "seconds_per_step": 0.125},
        },
        "device": "cpu",
    }


def test_a_dice_that_is_not_a_number_is_null(tmp_path):
    write_results(tmp_path / "results.json", {"a": Score({"whole tumor": float("nan")}, 0.1)}, {})
    assert json.loads((tmp_path / "results.json").read_text())["trainers"]["a"]["dice"] == {"whole tumor": None}
