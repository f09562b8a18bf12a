"""The status of a study is told from its folder alone, and fast."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study.jobs import jobs
from nnunet_fess.study.lock import lock_of
from nnunet_fess.study.results import Step, folder_of, read_run, write_run
from nnunet_fess.study.run import run_study
from nnunet_fess.study.status import lines, report, watch


def test_before_the_first_run(played):
    with pytest.raises(UserError, match="nothing has been run yet"):
        report(played.file())


def test_finished_failed_outdated_and_waiting(played):
    played.wish(fail=("CWCD",))
    with pytest.raises(UserError):
        run_study(played.file())
    text = "\n".join(lines(played.file(trainers=["DiceCE", "CWCD", "Dice"])))
    assert "1 of 3 runs done, 1 failed, 1 waiting" in text
    assert "it would not learn" in text
    assert "log.txt" in text
    assert "outdated  DiceCE-seed0-fold0-all" in "\n".join(lines(played.file(options="3epochs")))


def test_a_running_run_shows_its_epoch_and_one_whose_process_is_gone_is_interrupted(played):
    file = played.file()
    run_study(file)
    run = read_run(file.results, "CWCD-seed0-fold0-all")
    run = replace(run, status="running", steps=[Step("nnUNetv2_train 999", "2026-01-01T00:00:00+00:00")])
    write_run(file.results, run)
    (run.model / "debug.json").write_text('{"num_epochs": "12"}')
    log = "\n$ nnUNetv2_train 999\n2026-01-01 00:00:00.1: Epoch 3 \n2026-01-01 00:00:00.1: Epoch time: 60.0 s \n"
    (folder_of(file.results, run.id) / "log.txt").write_text(log + "2026-01-01 00:00:00.1: Epoch 4 \n")
    assert "interrupted  CWCD-seed0-fold0-all" in "\n".join(lines(file))
    with files.held_alone(lock_of(file.results, run.id), "busy"):
        assert "running  CWCD-seed0-fold0-all: epoch 5 of 12, about 8 min left" in "\n".join(lines(file))


def test_watching_ends_with_the_last_run(played, capsys):
    file = played.file()
    run_study(file)
    assert watch(file) == 0
    assert "2 of 2 runs done" in capsys.readouterr().out


def test_five_hundred_runs_need_no_more_than_their_records(played):
    """The time itself is measured by benchmarks/study_cost.py; here it is what would make it slow that must not happen."""
    run_study(played.file())
    file = played.file(seeds=list(range(50)), folds=[0, 1, 2, 3, 4])
    run = read_run(file.results, "DiceCE-seed0-fold0-all")
    for job in jobs(file):
        write_run(file.results, replace(run, id=job.id, trainer_name=job.trainer_name))
    code = (
        "import sys\nfrom nnunet_fess.cli import main\ncode = main(sys.argv[1:])\n"
        "heavy = {'torch', 'nnunetv2', 'scipy', 'numpy', 'SimpleITK', 'dataset_conversion'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "study", "status", str(file.path)],
        env={**os.environ, **played.environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "500 of 500 runs done" in done.stdout
