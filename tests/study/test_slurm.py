"""Submitting a study: nothing twice, nothing that could be known to fail, and nothing hangs; SLURM is played."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from study.played_slurm import PlayedSlurm

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study import queue
from nnunet_fess.study.check import check, report
from nnunet_fess.study.lock import lock_of
from nnunet_fess.study.results import read_run, read_runs
from nnunet_fess.study.run import dry_run, prepare_study, run_one
from nnunet_fess.study.slurm import cancel_study, submit_study
from nnunet_fess.study.status import lines

pytestmark = pytest.mark.skipif(os.name != "posix", reason="programs are played by scripts")

EXECUTOR = {"kind": "slurm", "partition": "gpu", "cpus": 2, "time": "01:00:00"}
ONE, OTHER = "DiceCE-seed0-fold0-all", "CWCD-seed0-fold0-all"


@pytest.fixture
def cluster(played, monkeypatch) -> PlayedSlurm:
    cluster = PlayedSlurm(played.root)
    monkeypatch.setenv("PATH", f"{cluster.programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(queue, "PATIENCE", 4.0)
    return cluster


def _file(played, **changes):
    return played.file(executor={**EXECUTOR, **changes.pop("executor", {})}, **changes)


def _states(cluster):
    return [job["state"] for job in cluster.jobs.values()]


def test_a_job_per_training_and_one_that_waits_for_all(played, cluster, capsys):
    file = _file(played)
    assert submit_study(file) == 0
    jobs = cluster.jobs
    assert [Path(job["script"]).stem for job in jobs.values()] == [ONE, OTHER, "evaluate"]
    assert jobs[cluster.job_of("evaluate")]["after"] == f"afterany:{cluster.job_of(ONE)}:{cluster.job_of(OTHER)}"
    assert played.calls() == []  # nothing was run here
    assert [run.status for run in read_runs(file.results)] == ["waiting", "waiting"]
    assert "submitted: 2" in capsys.readouterr().out


def test_what_is_in_the_queue_or_done_is_not_submitted_again(played, cluster):
    file = _file(played)
    submit_study(file)
    submit_study(file)
    assert len(cluster.jobs) == 3
    cluster.change(cluster.job_of(ONE), state="COMPLETED")
    run_one(file, ONE, 1)  # what the job did
    cluster.change(cluster.job_of(OTHER), state="NODE_FAIL", nodes="node9")
    submit_study(file)
    assert [Path(job["script"]).stem for job in cluster.jobs.values()][3:] == [OTHER, "evaluate"]
    assert cluster.jobs["102"]["state"] == "CANCELLED"  # the evaluation that waited for less
    assert cluster.jobs[cluster.job_of("evaluate")]["after"] == f"afterany:{cluster.job_of(OTHER)}"


def test_a_job_that_never_starts_is_submitted_anew(played, cluster):
    file = _file(played)
    submit_study(file)
    cluster.change(cluster.job_of(ONE), reason="DependencyNeverSatisfied")
    submit_study(file)
    assert cluster.jobs["100"]["state"] == "CANCELLED"
    assert cluster.job_of(ONE) == "103"


def test_a_limit_on_jobs_keeps_what_was_taken(played, cluster):
    cluster.wish(most=1)
    file = _file(played)
    with pytest.raises(UserError, match=r"job submit limit(.|\n)*1 runs are not submitted") as caught:
        submit_study(file)
    assert "The same call again submits what is missing" in str(caught.value)
    cluster.wish(most=1000)
    submit_study(file)
    assert [Path(job["script"]).stem for job in cluster.jobs.values()] == [ONE, OTHER, "evaluate"]


@pytest.mark.parametrize(
    ("program", "words", "expected"),
    [
        ("sbatch", "sbatch: error: invalid partition specified: gpu", "invalid partition specified"),
        ("sbatch", "hangs", "sbatch has not answered within 4 s"),
        ("squeue", "slurm_load_jobs error: Unable to contact slurm controller", "Unable to contact slurm controller"),
        ("squeue", "hangs", "squeue has not answered within 4 s"),
    ],
)
def test_a_cluster_that_does_not_answer_gets_nothing_submitted(played, cluster, program, words, expected):
    cluster.wish(**{program: words})
    file = _file(played)
    with pytest.raises(UserError, match=expected):
        submit_study(file)
    assert cluster.jobs == {}


def test_a_node_that_does_not_see_the_results_is_told_before_anything_is_submitted(played, cluster):
    cluster.wish(blind="/home/me/study.yaml")
    with pytest.raises(UserError, match=r"node node7 does not see what a training needs: not there: /home/me/study\.yaml"):
        submit_study(_file(played))
    assert cluster.jobs == {}
    assert not list(played.root.glob(".nnunet_fess_look*"))


def test_where_no_node_is_free_that_is_said(played, cluster):
    cluster.wish(srun="srun: error: Unable to allocate resources: Requested nodes are busy")
    found = check(_file(played))
    assert not found.mistakes
    assert any("no node could be asked" in line and "nodes are busy" in line for line in found.warnings)


def test_a_login_node_without_gpu_checks_and_submits(played, cluster, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    file = _file(played, device="cuda", executor={"gpus": 2})
    assert report(file) == 0
    submit_study(file)
    assert "--gres=gpu:2" in Path(cluster.jobs["100"]["script"]).read_text()
    with pytest.raises(UserError, match="torch finds 0 on"):  # on a node it is told
        run_one(file, ONE, 1)


def test_one_training_on_several_gpus(played, cluster, capsys):
    played_plans = json.loads((played.preprocessed / "nnUNetPlans.json").read_text())
    played_plans["configurations"]["3d_fullres"]["batch_size"] = 2
    (played.preprocessed / "nnUNetPlans.json").write_text(json.dumps(played_plans))
    dry_run(_file(played, device="cuda", executor={"gpus": 2}))
    assert "-device cuda -num_gpus 2" in capsys.readouterr().out
    with pytest.raises(UserError, match="a batch of 2 for 4 GPUs"):
        report(_file(played, device="cuda", executor={"gpus": 4}))


def test_without_slurm_that_is_said(played, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + str(played.root / "bin"))
    with pytest.raises(UserError, match=r"sbatch, squeue, scancel, srun was not found\. Call this on a login node"):
        report(_file(played))


def test_commands_of_the_user_that_no_shell_reads(played, cluster):
    with pytest.raises(UserError, match=r"executor\.setup: no shell commands"):
        report(_file(played, executor={"setup": ["if true"]}))


def test_data_are_prepared_by_a_job_that_the_trainings_wait_for(played, cluster, capsys):
    (played.preprocessed / "nnUNetPlans_3d_fullres" / "case000.pkl").unlink()
    file = _file(played)
    submit_study(file)
    assert [Path(job["script"]).stem for job in cluster.jobs.values()] == ["prepare", ONE, OTHER, "evaluate"]
    assert [job["after"] for job in cluster.jobs.values()][:3] == ["", "afterok:100", "afterok:100"]
    assert "study run" in Path(cluster.jobs["100"]["script"]).read_text()
    assert "--prepare" in Path(cluster.jobs["100"]["script"]).read_text()
    submit_study(file)
    assert len(cluster.jobs) == 4
    (played.preprocessed / "nnUNetPlans_3d_fullres" / "case000.pkl").touch()
    assert prepare_study(file) == 0
    assert run_one(file, ONE, 1) == 0
    assert not (file.results / "outdated").exists()


def test_a_changed_script_is_kept_and_submitted(played, cluster, capsys):
    file = _file(played)
    submit_study(file)
    script = Path(cluster.jobs[cluster.job_of(ONE)]["script"])
    script.write_text(script.read_text().replace("#SBATCH --time=01:00:00", "#SBATCH --time=09:00:00"))
    cancel_study(file)
    submit_study(_file(played, executor={"time": "02:00:00"}))
    assert "--time=09:00:00" in script.read_text()
    assert f"{script} was changed by somebody" in capsys.readouterr().out
    assert "--time=02:00:00" in Path(cluster.jobs[cluster.job_of(OTHER)]["script"]).read_text()


def test_cancel_ends_waiting_and_running_jobs_of_this_study_only(played, cluster, capsys):
    submit_study(played.file(name="another", executor=EXECUTOR))
    file = _file(played)
    submit_study(file)
    cluster.change(cluster.job_of(ONE), state="RUNNING", nodes="node1")
    cancel_study(file)
    assert _states(cluster) == ["PENDING"] * 3 + ["CANCELLED"] * 3
    assert "cancelled 3 jobs, 1 of which were running" in capsys.readouterr().out


def test_what_runs_here_is_not_cancelled(played):
    with pytest.raises(UserError, match="stop it with Ctrl-C"):
        cancel_study(played.file())


def test_a_changed_file_does_not_change_what_was_submitted(played, cluster):
    submit_study(_file(played))
    file = _file(played, options="3epochs")
    with pytest.raises(UserError, match="was submitted, but trainer changed since"):
        run_one(file, ONE, 1)
    submit_study(file)  # the waiting job is the new one's
    assert len(cluster.jobs) == 3
    assert run_one(file, ONE, 1) == 0


def test_a_running_job_of_a_changed_run_is_left_alone(played, cluster):
    submit_study(_file(played))
    cluster.change(cluster.job_of(ONE), state="RUNNING", nodes="node1")
    with pytest.raises(UserError, match=f"{ONE} is being run as job 100 on node1, but trainer changed"):
        submit_study(_file(played, options="3epochs"))


def test_a_run_that_the_file_no_longer_has(played, cluster):
    with pytest.raises(UserError, match="has no run Dice-seed0"):
        run_one(_file(played), "Dice-seed0-fold0-all", 1)


# Status


def test_status_names_reasons_nodes_and_what_was_lost(played, cluster):
    file = _file(played, trainers=["DiceCE", "CWCD", "Dice"])
    submit_study(file)
    cluster.change(cluster.job_of(OTHER), reason="Resources")
    cluster.change(cluster.job_of("Dice-seed0-fold0-all"), state="NODE_FAIL", nodes="node13")
    text = "\n".join(lines(file))
    assert f"queued   1 for free resources (Resources): {OTHER} (job 101)" in text
    assert f"queued   1 for jobs of higher priority (Priority): {ONE} (job 100)" in text
    assert "lost     Dice-seed0-fold0-all: job 102 ended as NODE_FAIL on node13; the next run submits it again" in text
    assert "evaluate job 103: waits for other jobs (Dependency)" in text


@pytest.mark.parametrize("accounting", [True, False])
def test_status_of_jobs_that_the_controller_has_forgotten(played, cluster, accounting):
    if accounting:
        cluster.install("sacct")
    file = _file(played)
    submit_study(file)
    cluster.change(cluster.job_of(ONE), state="OUT_OF_MEMORY", nodes="node2", forgotten=True)
    text = "\n".join(lines(file))
    if accounting:
        assert f"lost     {ONE}: job 100 ended as OUT_OF_MEMORY on node2" in text
    else:
        assert f"lost     {ONE}: job 100 is in no queue any more" in text


def test_accounting_that_is_switched_off_is_no_accounting(played, cluster):
    cluster.install("sacct")
    cluster.wish(sacct="Slurm accounting storage is disabled")
    file = _file(played)
    submit_study(file)
    cluster.change(cluster.job_of(ONE), forgotten=True)
    assert any("is in no queue any more" in line for line in lines(file))


def test_status_without_an_answer_of_the_queue(played, cluster):
    file = _file(played)
    submit_study(file)
    cluster.wish(squeue="slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    text = "\n".join(lines(file))
    assert "0 of 2 runs done, 2 waiting" in text
    assert "queue    cannot be read" in text
    assert "lost" not in text.replace("was lost", "")


def test_a_held_job_says_what_to_do(played, cluster):
    file = _file(played)
    submit_study(file)
    cluster.change(cluster.job_of(ONE), reason="JobHeldUser")
    assert "scontrol release 100" in "\n".join(lines(file))


def test_a_running_job_says_where_it_is(played, cluster):
    file = _file(played)
    submit_study(file)
    cluster.change(cluster.job_of(ONE), state="RUNNING", nodes="node1")
    path = file.results / "runs" / ONE / "run.json"
    record = json.loads(path.read_text())
    step = {"command": "nnUNetv2_train", "started": "2026-01-01T00:00:00+00:00"}
    path.write_text(json.dumps({**record, "status": "running", "environment": {"SLURM_JOB_ID": "100"}, "steps": [step]}))
    with files.held_alone(lock_of(file.results, ONE), "busy"):
        assert "(job 100 on node1, 0:10 of 1:00:00)" in "\n".join(lines(file))
    assert "1 running" in lines(file)[0]  # a file system without locks is no reason to call it dead
    cluster.change(cluster.job_of(ONE), state="PENDING", reason="BeginTime", nodes="")
    assert "2 waiting" in lines(file)[0]


# Signals


def _job(file, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "nnunet_fess", "study", "run", str(file.path), "--run", ONE, *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def _begun(played, times: int = 1) -> None:
    deadline = time.monotonic() + 60
    while len(played.calls()) < times and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert len(played.calls()) >= times


def test_out_of_time_a_training_writes_a_checkpoint_and_goes_on_later(played, cluster):
    played.wish(epochs=400, seconds=0.1)
    file = _file(played)
    job = _job(file, "--stop-within", "20")
    _begun(played)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(30) == 75
    run = read_run(file.results, ONE)
    assert (run.status, run.reason) == ("interrupted", "out of time, to be continued")
    assert (run.model / "checkpoint_latest.pth").is_file()
    assert not (file.results / "runs" / ONE / "stop").exists()
    played.wish(epochs=2)
    assert run_one(file, ONE, 1) == 0
    assert played.calls()[-1]["args"][-1] == "--c"
    assert read_run(file.results, ONE).status == "finished"


def test_a_training_that_does_not_listen_is_ended_in_time_and_its_second_vain_attempt_is_the_last(played, cluster):
    played.wish(epochs=1, seconds=600)  # an epoch that no time limit lasts for
    file = _file(played)
    for attempt, (code, status) in enumerate([(75, "interrupted"), (1, "failed")], 1):
        job = _job(file, "--stop-within", "1")
        _begun(played, attempt)
        job.send_signal(signal.SIGUSR1)
        assert job.wait(30) == code
        assert read_run(file.results, ONE).status == status
    assert "ran out of time twice without a new checkpoint" in read_run(file.results, ONE).reason


def test_a_cancelled_job_leaves_a_run_that_goes_on(played, cluster):
    played.wish(epochs=400, seconds=0.1)
    file = _file(played)
    job = _job(file)
    _begun(played)
    job.terminate()
    job.wait(30)
    assert read_run(file.results, ONE).status == "interrupted"
