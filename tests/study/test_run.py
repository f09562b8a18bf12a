"""What `study run` owes: nothing twice, nothing lost, nothing stopped by a neighbour's failure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study.lock import lock_of
from nnunet_fess.study.results import read_run, read_runs
from nnunet_fess.study.run import dry_run, run_study

pytestmark = pytest.mark.skipif(os.name != "posix", reason="programs are played by scripts")


def test_every_run_is_trained_and_recorded(played):
    file = played.file(seeds=[0, 1], folds=[0, 1])
    assert run_study(file) == 0
    runs = read_runs(file.results)
    assert [run.status for run in runs] == ["finished"] * 8
    assert len(played.calls()) == 8
    run = read_run(file.results, "CWCD-seed1-fold1-all")
    assert run.trainer_name == "nnUNetTrainerCWCD_2epochs_seed1"
    assert (run.seed, run.fold, run.size, run.nnunet_fold, run.exit) == (1, 1, "all", 1, 0)
    assert run.predictions == run.model / "validation"
    assert (run.predictions / "summary.json").is_file()
    assert run.truth == played.preprocessed / "gt_segmentations"
    assert run.seconds > 0
    assert (
        "nnUNetv2_train 999 3d_fullres 1 -p nnUNetPlans -tr nnUNetTrainerCWCD_2epochs_seed1 -device cpu" in run.steps[0].command
    )
    assert (file.results / "study.lock.yaml").is_file()


def test_a_second_call_does_nothing_again(played):
    file = played.file()
    run_study(file)
    run_study(file)
    assert len(played.calls()) == 2


def test_a_change_runs_again_what_it_concerns_and_loses_nothing(played):
    run_study(played.file(trainers=["DiceCE", "CWCD"]))
    file = played.file(trainers=["DiceCE", "CWCD", "FESS"], seeds=[0])
    run_study(file)
    assert [call["args"][-3] for call in played.calls()][2:] == ["nnUNetTrainerFESS_2epochs_seed0"]
    run_study(played.file(options="3epochs"))
    assert len(played.calls()) == 5
    assert sorted(path.name for path in (file.results / "outdated").iterdir()) == [
        "CWCD-seed0-fold0-all.0",
        "DiceCE-seed0-fold0-all.0",
    ]


def test_every_plans_have_runs_of_their_own(played):
    played.dataset("Dataset998_Two", 12, "nnUNetPlans", "nnUNetPlansVNet")
    file = played.file(dataset=998, plans=["nnUNetPlans", "nnUNetPlansVNet"], test="imagesTs")
    assert run_study(file) == 0
    runs = {run.id: run for run in read_runs(file.results)}
    assert list(runs) == [  # trainers alternate fastest
        "DiceCE-nnUNetPlans-seed0-fold0-all",
        "CWCD-nnUNetPlans-seed0-fold0-all",
        "DiceCE-nnUNetPlansVNet-seed0-fold0-all",
        "CWCD-nnUNetPlansVNet-seed0-fold0-all",
    ]
    for run in runs.values():
        assert run.status == "finished"
        assert f"-p {run.plans} " in run.steps[0].command and f"-p {run.plans} " in run.steps[1].command
        assert f"__{run.plans}__" in str(run.model)
    lock = (file.results / "study.lock.yaml").read_text()
    assert lock.count("plans: nnUNetPlansVNet\n") == 2  # what the runs were made of


def test_a_second_dataset_or_second_plans_rename_runs_and_repeat_none(played):
    """All runs' names say the plans when there are several; those that are finished keep their results under the new name."""
    played.dataset("Dataset998_Two", 12, "nnUNetPlans", "nnUNetPlansVNet")
    file = played.file(dataset=998)
    run_study(file)
    before = read_run(file.results, "CWCD-seed0-fold0-all")
    run_study(played.file(dataset=998, plans=["nnUNetPlansVNet", "nnUNetPlans"]))
    assert len(played.calls()) == 4
    assert read_run(file.results, "CWCD-seed0-fold0-all") is None
    assert read_run(file.results, "CWCD-nnUNetPlans-seed0-fold0-all").steps == before.steps
    run_study(played.file(dataset=[999, 998], plans=["nnUNetPlans"]))
    assert len(played.calls()) == 6
    assert read_run(file.results, "Dataset998-CWCD-seed0-fold0-all").steps == before.steps
    run_study(played.file(dataset=998))
    assert len(played.calls()) == 6
    assert read_run(file.results, "CWCD-seed0-fold0-all").steps == before.steps
    assert not (file.results / "outdated").exists()


def test_a_run_that_another_call_works_on_is_not_renamed(played):
    played.dataset("Dataset998_Two", 12, "nnUNetPlans", "nnUNetPlansVNet")
    file = played.file(dataset=998)
    run_study(file)
    before = read_run(file.results, "CWCD-seed0-fold0-all")
    with (
        files.held_alone(lock_of(file.results, before.id), "busy"),
        pytest.raises(UserError, match="CWCD-seed0-fold0-all is being run by another call"),
    ):
        run_study(played.file(dataset=998, plans=["nnUNetPlans", "nnUNetPlansVNet"]))
    assert read_run(file.results, "CWCD-seed0-fold0-all") == before
    assert (before.model / "checkpoint_final.pth").is_file()


def test_a_change_taken_back_finds_the_earlier_runs_again(played):
    file = played.file()
    run_study(file)
    run_study(played.file(options="3epochs"))
    run_study(played.file())
    assert len(played.calls()) == 4
    assert read_run(file.results, "CWCD-seed0-fold0-all").trainer_name == "nnUNetTrainerCWCD_2epochs_seed0"


def test_changed_plans_or_data_run_again(played):
    file = played.file(trainers=["DiceCE"])
    run_study(file)
    (played.preprocessed / "dataset_fingerprint.json").write_text(json.dumps({"spacings": [[2, 1, 1]] * 12}))
    run_study(file)
    plans = json.loads((played.preprocessed / "nnUNetPlans.json").read_text())
    plans["configurations"]["3d_fullres"]["batch_size"] = 5
    (played.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    run_study(file)
    assert len(played.calls()) == 3
    plans["configurations"]["2d"]["batch_size"] = 7  # another configuration is none of the study's business
    (played.preprocessed / "nnUNetPlans.json").write_text(json.dumps(plans))
    run_study(file)
    assert len(played.calls()) == 3


def test_one_failure_stops_nobody_and_is_tried_again(played, capsys):
    played.wish(fail=("DiceCE",))
    file = played.file(trainers=["DiceCE", "CWCD", "Dice"])
    with pytest.raises(UserError, match="1 of 3 runs failed: DiceCE-seed0-fold0-all"):
        run_study(file)
    assert "it would not learn" in capsys.readouterr().out
    failed = read_run(file.results, "DiceCE-seed0-fold0-all")
    assert (failed.status, failed.exit) == ("failed", 1)
    assert "RuntimeError: it would not learn" in failed.reason
    assert [run.status for run in read_runs(file.results)] == ["failed", "finished", "finished"]
    played.wish()
    assert run_study(file) == 0
    assert len(played.calls()) == 4


def test_a_broken_training_goes_on_from_its_checkpoint(played):
    file = played.file(trainers=["DiceCE"])
    run_study(file)
    model = read_run(file.results, "DiceCE-seed0-fold0-all").model
    (model / "checkpoint_final.pth").write_bytes(b"half of a checkpo")
    run_study(file)
    assert played.calls()[-1]["args"][-1] == "--c"
    assert (model / "checkpoint_final.pth.damaged").read_bytes() == b"half of a checkpo"


def test_only_the_validation_is_repeated_where_only_it_is_missing(played):
    played.wish(validation=("DiceCE",))
    file = played.file(trainers=["DiceCE"])
    with pytest.raises(UserError, match="1 of 1 runs failed"):
        run_study(file)
    played.wish()
    run_study(file)
    assert played.calls()[-1]["args"][-1] == "--val"


def test_predictions_of_a_test_set(played):
    file = played.file(trainers=["DiceCE"], test="imagesTs")
    run_study(file)
    run = read_run(file.results, "DiceCE-seed0-fold0-all")
    assert sorted(path.name for path in run.predictions.iterdir()) == ["test0.nii.gz", "test1.nii.gz"]
    assert run.truth == played.raw / "labelsTs"
    (played.raw / "imagesTs" / "test0_0000.nii.gz").write_text("another image")
    run_study(file)
    assert len(played.calls()) == 1
    assert len(played.calls("nnUNetv2_predict")) == 2


def test_what_another_checkpoint_has_predicted_is_predicted_again(played):
    file = played.file(trainers=["DiceCE"], test="imagesTs")
    run_study(file)
    run = read_run(file.results, "DiceCE-seed0-fold0-all")
    (run.model / "checkpoint_final.pth").unlink()
    played.wish(validation=("DiceCE",))  # ends between training and validation, whose result of before lies there still
    with pytest.raises(UserError):
        run_study(file)
    assert not run.predictions.exists()
    played.wish()
    run_study(file)
    assert [call["args"][-1] for call in played.calls()] == ["cpu", "--c", "--val"]
    assert len(played.calls("nnUNetv2_predict")) == 2
    assert (run.predictions / "test0.nii.gz").is_file()


def test_training_sizes_are_nested_and_the_same_for_every_trainer(played):
    file = played.file(training_sizes=["all", 6, 3], repeats=2)
    run_study(file)
    splits = json.loads((played.preprocessed / "splits_final.json").read_text())
    runs = {run.id: run for run in read_runs(file.results)}
    assert len(runs) == 2 * (1 + 2 * 2)
    for draw in ("", "-draw1"):
        three, six = (set(splits[runs[f"CWCD-seed0-fold0-{size}{draw}"].nnunet_fold]["train"]) for size in (3, 6))
        assert len(three) == 3
        assert three < six < set(splits[0]["train"])
        assert runs[f"CWCD-seed0-fold0-3{draw}"].nnunet_fold == runs[f"DiceCE-seed0-fold0-3{draw}"].nnunet_fold


def test_foreign_trainers_have_one_run_whatever_the_seeds(played):
    file = played.file(trainers=["DiceCE", "nnUNetTrainerDiceCELoss_noSmooth"], seeds=[0, 1])
    run_study(file)
    assert [run.id for run in read_runs(file.results)] == [
        "DiceCE-seed0-fold0-all",
        "nnUNetTrainerDiceCELoss_noSmooth-fold0-all",
        "DiceCE-seed1-fold0-all",
    ]


@pytest.mark.parametrize(("parallel", "cores"), [(1, 2), (2, 1)])
def test_each_job_gets_its_share_of_the_cores(played, monkeypatch, parallel, cores):
    monkeypatch.setattr("nnunet_fess.machine.cores", lambda: 2)
    played.wish(seconds=0.3)
    run_study(played.file(executor={"kind": "local", "parallel": parallel}))
    calls = played.calls()
    assert [call["cores"] for call in calls] == [cores, cores]
    assert (abs(calls[0]["time"] - calls[1]["time"]) < 0.3) == (parallel == 2)


def test_several_datasets_each_with_its_training_sizes(played):
    played.dataset("Dataset998_Other", 30)
    file = played.file(dataset=[999, 998], trainers=["DiceCE"], training_sizes={"998": ["all", 4]})
    run_study(file)
    assert [(run.id, run.dataset, run.training_cases) for run in read_runs(file.results)] == [
        ("Dataset999-DiceCE-seed0-fold0-all", "Dataset999_Played", 9),
        ("Dataset998-DiceCE-seed0-fold0-all", "Dataset998_Other", 24),
        ("Dataset998-DiceCE-seed0-fold0-4", "Dataset998_Other", 4),
    ]


def test_a_killed_training_is_a_failure_like_any_other(played):
    played.wish(seconds=30)
    file = played.file(trainers=["DiceCE", "CWCD"])
    process = _call(played, file.path)
    _wait_for(lambda: played.calls())
    played.wish()
    os.kill(played.calls()[0]["pid"], signal.SIGKILL)
    process.communicate(timeout=60)
    assert [(run.status, run.exit) for run in read_runs(file.results)] == [("failed", 137), ("finished", 0)]
    assert "killed; often for want of memory" in read_run(file.results, "DiceCE-seed0-fold0-all").reason


def test_a_training_that_fails_after_a_checkpoint_is_restarted_once(played):
    played.wish(epochs=400, seconds=0.2)
    file = played.file(trainers=["DiceCE"])
    process = _call(played, file.path)
    for attempt in (0, 1):
        _wait_for(lambda attempt=attempt: len(played.calls()) > attempt)
        _wait_for(lambda: list((file.results / "nnUNet_results").rglob("checkpoint_best.pth")))
        os.kill(played.calls()[attempt]["pid"], signal.SIGKILL)
    process.communicate(timeout=60)
    run = read_run(file.results, "DiceCE-seed0-fold0-all")
    assert (run.status, [step.exit for step in run.steps]) == ("failed", [137, 137])
    assert [call["args"][-1] for call in played.calls()] == ["cpu", "--c"]


def test_a_gpu_has_one_job_at_a_time(played, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    played.wish(seconds=0.2)
    run_study(played.file(device="cuda", executor={"kind": "local", "gpus": [0, 1]}, seeds=[0, 1]))
    assert sorted(call["gpu"] for call in played.calls()) == ["4", "4", "7", "7"]


def test_a_folder_that_is_no_studys_is_left_alone(played):
    file = played.file()
    file.results.mkdir()
    (file.results / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds files, but none of a study's"):
        run_study(file)
    assert [path.name for path in file.results.iterdir()] == ["thesis.tex"]


def test_a_dry_run_changes_nothing(played, capsys):
    before = sorted(played.root.rglob("*"))
    file = played.file(training_sizes=["all", 3], test="imagesTs")
    assert dry_run(file) == 0
    shown = capsys.readouterr().out
    assert shown.count("nnUNetv2_train 999") == 4
    assert shown.count("nnUNetv2_predict") == 4
    assert {*before, file.path} == set(played.root.rglob("*"))


def test_all_runs_can_be_read_while_some_wait(played):
    played.wish(seconds=1.0)
    file = played.file(trainers=["DiceCE", "CWCD"])
    process = _call(played, file.path)
    _wait_for(lambda: played.calls())
    statuses = [run.status for run in read_runs(file.results)]
    process.kill()
    process.communicate()
    assert statuses == ["running", "waiting"]


def test_quiet_where_nobody_watches(played, capsys):
    played.wish(seconds=0.2)
    run_study(played.file())
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["done", "done", "2"]
    assert not any("\x1b" in line for line in lines)


def _call(played, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nnunet_fess", "study", "run", str(path)],
        env={**os.environ, **played.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert condition()


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_stopped_study_leaves_no_process_and_goes_on_at_the_next_call(played, number):
    played.wish(seconds=1.5)
    path = played.write()
    process = _call(played, path)
    best = "**/nnUNetTrainerDiceCE*/fold_0/checkpoint_best.pth"
    _wait_for(lambda: any(played.root.glob(best)))
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode != 0
    _wait_for(lambda: all(_gone(call["pid"]) for call in played.calls()), seconds=10)
    played.wish()
    file = played.file()
    assert run_study(file) == 0
    trained = [(call["args"][6], "--c" in call["args"]) for call in played.calls()]
    assert trained == [
        ("nnUNetTrainerDiceCE_2epochs_seed0", False),
        ("nnUNetTrainerDiceCE_2epochs_seed0", True),
        ("nnUNetTrainerCWCD_2epochs_seed0", False),
    ]
    assert len(read_run(file.results, "DiceCE-seed0-fold0-all").steps) == 2


def test_two_calls_at_once_share_the_work(played):
    played.wish(seconds=0.15)
    path = played.write(seeds=[0, 1, 2])
    calls = [_call(played, path) for _ in range(2)]
    errors = [call.communicate(timeout=60)[1] for call in calls]
    assert [call.returncode for call in calls] == [0, 0], errors
    names = [call["args"][6] for call in played.calls()]
    assert len(names) == len(set(names)) == 6
