import math

import pytest

from nnunet_fess.demo import study
from nnunet_fess.demo.trainers import DEFAULT, choose
from nnunet_fess.study import presets
from nnunet_fess.study.config import load
from nnunet_fess.study.results import Case, Run, write_cases, write_run, write_runs


def test_it_is_the_quick_preset(tmp_path):
    """One comparison, not two copies: what the demo trains is what the preset says."""
    study.write(tmp_path / "study.yaml", "results", choose(DEFAULT, 0), "cpu", 0, cores=2)
    (tmp_path / "quick.yaml").write_text(presets.text("quick"))
    demo, quick = load(tmp_path / "study.yaml").study, load(tmp_path / "quick.yaml").study
    assert demo.model_copy(update={"name": "quick", "results": None}) == quick


@pytest.mark.parametrize("trainers", [["nnUNetTrainerFESS_temp0p1_2epochs", "nnUNetTrainerDice"], ["nnUNetTrainer_5epochs"]])
def test_it_trains_what_was_asked_for(trainers, tmp_path):
    chosen = choose(trainers, 7)
    study.write(tmp_path / "study.yaml", "results", chosen, "cuda", 7, cores=2)
    file = load(tmp_path / "study.yaml")
    assert [trainer.name(file.study.seeds[0]) for trainer in file.trainers] == [trainer.full_name for trainer in chosen]
    assert file.study.device == "cuda"
    assert file.results == tmp_path / "results"


@pytest.mark.parametrize(
    ("device", "cores", "parallel"), [("cpu", 1, 1), ("cpu", 3, 1), ("cpu", 4, 2), ("cpu", 64, 3), ("cuda", 64, 1)]
)
def test_runs_at_once_have_two_cores_each(device, cores, parallel, tmp_path):
    study.write(tmp_path / "study.yaml", "results", choose(DEFAULT, 0), device, 0, cores)
    assert load(tmp_path / "study.yaml").study.executor.parallel == parallel


def test_what_came_out_is_the_mean_over_the_cases_that_have_it(tmp_path, monkeypatch):
    monkeypatch.setattr("nnunet_fess.study.scores.report_study", lambda file: None)
    study.write(tmp_path / "study.yaml", "results", choose(["nnUNetTrainerFESS"], 0), "cpu", 0, cores=2)
    results = tmp_path / "results"
    run = Run("FESS-seed0-fold0-all", "Dataset517_A", "3d_fullres", "p", "FESS", "nnUNetTrainerFESS_x", 0, 0, "all", 0, 0, 9)
    write_run(results, run)
    write_runs(results, [run])
    values = {"whole": (0.5, 0.75), "core": (math.nan, 0.25), "enhancing": (math.nan, math.nan)}
    cases = [Case.of(run, f"c{n}", name, {"dice": v}) for name, both in values.items() for n, v in enumerate(both)]
    write_cases(results, cases, ["dice"])
    done = study.finish(tmp_path / "study.yaml")["nnUNetTrainerFESS_x"]
    assert (done.dice["whole"], done.dice["core"]) == (0.625, 0.25)
    assert math.isnan(done.dice["enhancing"])
