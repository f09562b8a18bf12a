import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_fess.cli.main import main
from nnunet_fess.demo import pipeline
from nnunet_fess.demo.report import Score


def _scores(dice):
    return {"nnUNetTrainerFESS": Score({"whole tumor": dice, "tumor core": 0.5, "enhancing tumor": 0.5}, 0.1)}


@pytest.fixture
def finished_run(monkeypatch):
    """Replaces the minutes of training by a run that leaves behind what a real one does."""

    def install(dice):
        def run(workdir, *_):
            for name in pipeline.INTERMEDIATE:
                workdir.new(name).mkdir()
            workdir.new("overlay_case.png").touch()
            workdir.new(pipeline.RESULTS).write_text("{}")
            return _scores(dice)

        monkeypatch.setattr(pipeline, "run", run)

    return install


@pytest.mark.parametrize(
    "trainers", ["nnUNetTrainerFES", "nnUNetTrainerDiceCE,nnUNetTrainerFESS_noDS_3epochs", ",", "FESS,FESS"]
)
def test_bad_trainers_fail_before_anything_is_written(trainers, tmp_path, capsys):
    assert main(["demo", "--workdir", str(tmp_path / "work"), "--trainers", trainers]) == 1
    assert "--trainers" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize("seed", ["-1", "x", str(2**32)])
def test_a_bad_seed_is_refused(seed, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["demo", "--workdir", str(tmp_path / "work"), "--seed", seed])
    assert caught.value.code == 2
    assert "--seed" in capsys.readouterr().err


def test_a_foreign_workdir_is_refused(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("precious")
    assert main(["demo", "--workdir", str(tmp_path)]) == 1
    assert "thesis.tex" in capsys.readouterr().err
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_gpu_that_is_not_there_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["demo", "--workdir", str(tmp_path / "work"), "--device", "cuda"]) == 1
    assert "no GPU" in capsys.readouterr().err
    assert not (tmp_path / "work").exists()


def test_a_missing_program_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda program, path: None if program == "nnUNetv2_predict" else "/bin/true")
    assert main(["demo", "--workdir", str(tmp_path / "work")]) == 1
    assert "nnUNetv2_predict was not found" in capsys.readouterr().err


@pytest.mark.parametrize("flags", [[], ["--keep"]])
def test_shows_the_table_and_keeps_everything(finished_run, tmp_path, capsys, flags):
    finished_run(dice=0.75)
    assert main(["demo", "--workdir", str(tmp_path), *flags]) == 0
    out = capsys.readouterr().out
    assert "0.750" in out
    assert "1 held-out phantoms" in out
    assert "seed 0" in out
    assert {*pipeline.INTERMEDIATE, pipeline.RESULTS} <= {entry.name for entry in tmp_path.iterdir()}


def test_a_second_demo_leaves_the_first_ones_results_alone(finished_run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished_run(dice=0.75)
    for number in range(3):
        assert main(["demo", "--seed", str(number)]) == 0
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [
        "nnunet_fess_demo",
        "nnunet_fess_demo_2",
        "nnunet_fess_demo_3",
    ]


def test_finished_results_in_a_named_place_are_replaced_only_when_told(finished_run, tmp_path, capsys):
    finished_run(dice=0.75)
    here = ["demo", "--workdir", str(tmp_path)]
    assert main(here) == 0
    (tmp_path / pipeline.RESULTS).write_text("precious")
    assert main(here) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / pipeline.RESULTS).read_text() == "precious"
    assert main([*here, "--overwrite"]) == 0
    assert (tmp_path / pipeline.RESULTS).read_text() == "{}"


@pytest.mark.parametrize("dice", [0.69, float("nan")])
def test_a_trainer_that_has_not_learnt_fails_the_demo(finished_run, dice, tmp_path, capsys):
    finished_run(dice)
    assert main(["demo", "--workdir", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "nnUNetTrainerFESS" in out
    assert "must reach 0.7" in err
    assert "nnUNetTrainerFESS" in err


def test_a_failing_stage_shows_its_log_and_no_traceback(tmp_path, monkeypatch, capsys):
    """Every program the demo calls is replaced by one that fails."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (
        "nnunet_fess",
        *(f"nnUNetv2_{verb}" for verb in ("plan_and_preprocess", "train", "predict")),
    ):
        (programs / name).write_text("#!/bin/sh\necho the disk is on fire\nexit 7\n")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(pipeline, "program_path", lambda: f"{programs}{os.pathsep}{os.environ['PATH']}")
    assert main(["demo", "--workdir", str(tmp_path / "work")]) == 1
    out, err = capsys.readouterr()
    assert "$ nnunet_fess convert brats2017" in out
    assert "failed with exit code 7" in err
    assert "the disk is on fire" in err
    assert str(tmp_path / "work" / pipeline.LOG) in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_whole_path(tmp_path):
    """What the README promises, with the real command: exit code 0 says that every trainer has learnt."""
    command = [str(Path(sys.executable).parent / "nnunet_fess"), "demo", "--workdir", str(tmp_path), "--keep"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / pipeline.RESULTS).read_text())
    assert list(results["trainers"]) == ["nnUNetTrainerDiceCE", "nnUNetTrainerFESS", "nnUNetTrainerCWCD"]
    for name, result in results["trainers"].items():
        assert name in done.stdout
        assert list(result["dice"]) == ["whole tumor", "tumor core", "enhancing tumor"]
        assert 0.7 <= result["dice"]["whole tumor"] < 1
        assert result["seconds_per_step"] > 0
    assert all(line in done.stdout for line in results["commands"])
    dataset = tmp_path / "nnUNet_raw" / "Dataset517_BraTS2017"
    held_out = sorted(file.name.removesuffix(".nii.gz") for file in (dataset / "labelsTs").iterdir())
    assert len(held_out) == 3
    page = (tmp_path / pipeline.REPORT).read_text("utf-8")
    assert all(name.removeprefix("nnUNetTrainer") in page for name in results["trainers"])
    assert str(tmp_path / pipeline.REPORT) in done.stdout
    assert sorted(file.stem for file in tmp_path.glob("*.png")) == [f"overlay_{case}" for case in held_out]


def test_data_only_prepares_trains_nothing_and_keeps_all(tmp_path, monkeypatch, capsys):
    def prepare(workdir, *_):
        workdir.new("nnUNet_raw").mkdir()

    monkeypatch.setattr(pipeline, "prepare", prepare)
    assert main(["demo", "--workdir", str(tmp_path / "a b"), "--data-only"]) == 0
    assert (tmp_path / "a b" / "nnUNet_raw").is_dir()
    shown = capsys.readouterr().out
    assert f"nnUNet_raw='{tmp_path / 'a b' / 'nnUNet_raw'}'" in shown
    assert "nnunet_fess study init --preset quick > study.yaml" in shown
