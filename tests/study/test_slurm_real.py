"""Studies on a real SLURM: jobs that are killed, requeued, preempted, out of time; trainings played, and one of nnU-Net's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import Host
from study import cluster as slurm

from nnunet_fess.study.config import load
from nnunet_fess.study.results import folder_of, read_run
from nnunet_fess.study.slurm import cancel_study, submit_study
from nnunet_fess.study.status import lines

KILLED, REQUEUED, LATE = (f"{name}-seed0-fold0-all" for name in ("DiceCE", "CWCD", "Dice"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if os.name != "posix":
        pytest.skip("no SLURM here: not a POSIX system")
    if reason := slurm.missing():
        pytest.skip(reason)
    with slurm.running(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture
def here(cluster, monkeypatch):
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    cluster.ask("scancel --user=root")
    _until(lambda: not cluster.ask("squeue --noheader").stdout.strip(), "an empty queue", cluster)


def _until(there, what, cluster, seconds=300):
    end = time.monotonic() + seconds
    while not there():
        queue = cluster.ask("squeue --states=all --format=%i|%j|%T|%r|%M").stdout
        assert time.monotonic() < end, f"{what} did not come\n{queue}\n{_last_words(cluster)}"
        time.sleep(0.5)


def _last_words(cluster):
    """What the jobs have printed, and how SLURM saw them go: a test that fails once in ten runs has to tell why at once."""
    shown = cluster.ask("scontrol --oneliner show jobs").stdout
    outputs = {word.removeprefix("StdOut=") for word in re.findall(r"StdOut=.*?\.out", shown)}
    texts = [f"{name}:\n{Path(name).read_text(errors='replace')[-2000:]}" for name in sorted(outputs) if Path(name).is_file()]
    return "\n".join([*texts, (cluster.root / "slurmctld.log").read_text(errors="replace")[-4000:]])


def _executor(**changes):
    return {"kind": "slurm", "partition": "low", "cpus": 1, "memory": 300, "time": "00:02:00", **changes}


def _job_of(cluster, run_id):
    """Number and state of a run's last job."""
    rows = [row.split("|") for row in cluster.ask("squeue --noheader --states=all --format=%i|%T|%j").stdout.split()]
    return max((int(number), state) for number, state, name in rows if name == run_id)


def _release(cluster, run_id):
    """A requeued job waits for two minutes; a test does not."""
    _until(lambda: _job_of(cluster, run_id)[1] == "PENDING", f"{run_id} back in the queue", cluster)
    time.sleep(2)  # a start in the second of the requeue finds "Job credential revoked", and the job ends as FAILED
    cluster.ask(f"scontrol update JobId={_job_of(cluster, run_id)[0]} StartTime=now")


def _is_running(file, run_id):
    run = read_run(file.results, run_id)
    return run is not None and run.status == "running"


def _has_checkpoint(file, run_id):
    return (read_run(file.results, run_id).model / "checkpoint_best.pth").is_file()


def _status(file, run_id):
    run = read_run(file.results, run_id)
    return run.status if run else "none"


@pytest.mark.slow
def test_one_killed_one_requeued_and_one_that_runs_out_of_time_all_come_to_their_end(played, here, capsys):
    played.wish(epochs=1000, seconds=0.5)
    file = played.file(trainers=["DiceCE", "CWCD", "Dice"], executor=_executor())
    submit_study(file)
    _until(lambda: _is_running(file, KILLED) and _is_running(file, REQUEUED), "two running trainings", here)
    text = "\n".join(lines(file))
    assert f"{LATE} (job " in text  # two cores, two jobs
    assert "free resources (Resources)" in text or "other jobs" in text or "higher priority" in text
    _until(lambda: all(_has_checkpoint(file, run_id) for run_id in (KILLED, REQUEUED)), "checkpoints", here)
    here.ask(f"scancel {_job_of(here, KILLED)[0]}")
    here.ask(f"scontrol requeue {_job_of(here, REQUEUED)[0]}")
    _until(lambda: _is_running(file, LATE), "the third training", here)
    assert f"lost     {KILLED}: job {_job_of(here, KILLED)[0]} ended as CANCELLED" in "\n".join(lines(file))

    # out of time: USR1, a checkpoint, back to the queue
    _until(lambda: _status(file, LATE) == "interrupted", "the signal before the time limit", here)
    late = read_run(file.results, LATE)
    assert (late.reason, late.steps[-1].exit) == ("out of time, to be continued", 75)
    assert (late.model / "checkpoint_latest.pth").is_file()

    # the same call again submits what is missing, and no more
    played.wish(epochs=4)
    capsys.readouterr()
    submit_study(file)
    assert "submitted: 1\n" in capsys.readouterr().out
    for run_id in (REQUEUED, LATE):
        _release(here, run_id)
    _until(lambda: {_status(file, run_id) for run_id in (KILLED, REQUEUED, LATE)} == {"finished"}, "the end of all", here)
    for run_id in (KILLED, REQUEUED, LATE):
        assert read_run(file.results, run_id).steps[-1].command.endswith("--c")
    assert (
        read_run(file.results, REQUEUED).environment["SLURM_RESTART_COUNT"] in "12"
    )  # again where it was out of time meanwhile
    # its place was with those that all others had to end for
    _until(lambda: _job_of(here, "evaluate")[1] in ("FAILED", "COMPLETED"), "the evaluation", here)
    assert (
        "no run could be measured" in (file.results / "slurm" / "evaluate.out").read_text()
    )  # played predictions are no images


@pytest.mark.slow
def test_a_preempted_training_goes_on(played, here):
    played.wish(epochs=1000, seconds=0.5)
    file = played.file(trainers=["DiceCE"], executor=_executor(time=60))
    submit_study(file)
    _until(lambda: _is_running(file, KILLED), "the training", here)
    time.sleep(2)
    subprocess.run(
        ["sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=sleep 5"], check=True, capture_output=True
    )
    _until(lambda: _status(file, KILLED) == "interrupted", "the preemption", here)
    played.wish(epochs=4)
    _release(here, KILLED)
    _until(lambda: _status(file, KILLED) == "finished", "the end", here)
    run = read_run(file.results, KILLED)
    assert run.steps[-1].command.endswith("--c")
    assert (run.model / "checkpoint_latest.pth").is_file()


@pytest.mark.slow
def test_cancelling_empties_the_queue(played, here):
    played.wish(epochs=1000, seconds=0.5)
    file = played.file(executor=_executor(), seeds=[0, 1])
    submit_study(file)
    _until(lambda: _is_running(file, KILLED), "a training", here)
    cancel_study(file)
    _until(lambda: not here.ask("squeue --noheader").stdout.strip(), "an empty queue", here, 60)


@pytest.mark.slow
def test_what_slurm_refuses_is_told_before_anything_is_submitted(played, here):
    file = played.write(executor=_executor(partition="nonesuch"))
    done = subprocess.run(
        [sys.executable, "-m", "nnunet_fess", "study", "run", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "invalid partition" in done.stderr
    assert not here.ask("squeue --noheader").stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("name", ['a\'b "c" #d', "50%j x", "$(touch pwned);`id`"])
def test_whatever_the_folder_is_called_the_output_is_there(played, here, name):
    played.wish(epochs=1)
    file = played.file(trainers=["DiceCE"], executor=_executor(), results=name)
    submit_study(file)
    _until(lambda: _status(file, KILLED) == "finished", "the end", here)
    out = played.root / name / "slurm" / f"{KILLED}.out"  # SLURM writes it, after the run's own record
    _until(lambda: "1 of 1 runs are finished" in out.read_text(), "its output", here, 60)
    assert not (played.root / "pwned").exists()


@pytest.mark.slow
def test_a_script_can_be_submitted_by_hand_from_a_bare_environment(played, here):
    played.wish(epochs=1)
    file = played.file(trainers=["DiceCE"], executor=_executor())
    submit_study(file)
    cancel_study(file)
    script = file.results / "slurm" / f"{KILLED}.sh"
    bare = {"PATH": os.environ["PATH"], "PLAYED": os.environ["PLAYED"], **here.environment}
    subprocess.run(["sbatch", str(script)], env=bare, cwd="/", check=True, capture_output=True)
    _until(lambda: _status(file, KILLED) == "finished", "the end", here)


@pytest.mark.nightly
def test_a_training_of_nnunets_goes_on_after_its_time_limit(tmp_path, here, monkeypatch):
    host = Host(tmp_path)
    host.plan()
    for name, value in host.environment.items():
        monkeypatch.setenv(name, value)
    content = {
        "name": "real",
        "dataset": 999,
        "plans": "nnUNetPlansCPU",
        "device": "cpu",
        "trainers": ["DiceCE"],
        "options": "9000epochs_2iters_1valiters_noMirroring",
        "executor": _executor(time=6, memory=1900, stop_before=150),
    }
    (tmp_path / "study.yaml").write_text(json.dumps(content))
    file = load(tmp_path / "study.yaml")
    submit_study(file)
    _until(lambda: _status(file, KILLED) in ("interrupted", "failed"), "the signal before the time limit", here, 600)
    run = read_run(file.results, KILLED)
    assert (run.status, run.reason, run.steps[-1].exit) == ("interrupted", "out of time, to be continued", 75), run.reason
    log = folder_of(file.results, KILLED) / "log.txt"
    assert "The training stops as it was asked to, after a checkpoint" in log.read_text()
    _release(here, KILLED)
    _until(lambda: "The training continues from checkpoint_latest.pth" in log.read_text(), "the training again", here, 400)
    assert read_run(file.results, KILLED).steps[-1].command.endswith("--c")
    cancel_study(file)
