"""A batch script says all that SLURM and a reader need, whatever the study, its place and its file are called."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.study import scripts
from nnunet_fess.study.config import load

BASE = {"name": "a", "dataset": 5, "trainers": ["Dice"]}


def _study(folder: Path, **executor: object):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(json.dumps({**BASE, "executor": {"kind": "slurm", **executor}}), "utf-8")
    return load(folder / "study.yaml")


def _options(text: str) -> list[str]:
    return [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH ")]


def test_a_training(tmp_path):
    file = _study(
        tmp_path,
        partition="gpu",
        gpus=2,
        cpus=12,
        memory="32G",
        time="24:00:00",
        account="lab.x",
        extra=["--constraint=a100", "--exclude=node[1-3]", "-x node7"],
        setup=["module load cuda"],
    )
    text = scripts.training(file, "Dice-seed0-fold0-all")
    options = _options(text)
    for expected in (
        "--requeue",
        "--open-mode=append",
        "--signal=B:USR1@600",
        "--gres=gpu:2",
        "--cpus-per-task=12",
        "--mem=32G",
        "--time=24:00:00",
        "--partition=gpu",
        "--account=lab.x",
        "--constraint=a100",
        "--exclude=node[1-3]",
        "-x node7",
        f"--output={file.results}/slurm/Dice-seed0-fold0-all.out",
    ):
        assert expected in options
    assert text.index("module load cuda") > text.rindex("#SBATCH")
    assert "--run Dice-seed0-fold0-all --stop-within 555" in text
    assert "scontrol requeue" in text
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_a_short_limit_has_a_short_lead(tmp_path):
    leads = [scripts.lead_of(_study(tmp_path, time=minutes).study.executor) for minutes in (1, 2, 5, 20, 40, 6000)]
    assert leads == [30, 60, 90, 300, 600, 600]
    assert scripts.lead_of(_study(tmp_path, time=60, stop_before=1200).study.executor) == 1200


def test_preparation_and_evaluation_need_no_gpu(tmp_path):
    file = _study(tmp_path, gpus=4)
    for text in (scripts.preparation(file), scripts.evaluation(file)):
        assert not [option for option in _options(text) if "gpu" in option]


@pytest.mark.parametrize("name", ["Prüf ung", "a'b", 'a"b', "a$(touch pwned)", "a#b", "50%j", "a;b&c", "`id`"])
def test_any_path_can_be_named(tmp_path, name):
    file = _study(tmp_path / name)
    text = scripts.training(file, "x")
    (output,) = [option for option in _options(text) if option.startswith("--output=")]
    # as sbatch reads it: words with quotes, %% for %
    assert shlex.split(output) == [f"--output={file.results}/slurm/x.out".replace("%", "%%")]
    command = next(line for line in text.splitlines() if " --run x " in line)
    assert str(file.path) in shlex.split(command)


@pytest.mark.parametrize(
    "extra",
    [
        *(
            "--output=x",
            "--job-name=x",
            "-J x",
            "-Jx",
            "--no-requeue",
            "--requ",
            "--wrap=rm",
            "--signal=B:TERM@1",
            "rm",
            "--",
            "a b",
        ),
        *("--constraint=a\n#SBATCH --output=x", "--array=1-9", "-a1", "", "--comment=x", "--constraint=a\x00"),
    ],
)
def test_options_that_would_take_a_job_away_from_the_study_are_refused(tmp_path, extra):
    with pytest.raises(UserError, match=r"executor\.extra\.0: found .*; allowed: a list of further options of sbatch"):
        _study(tmp_path, extra=[extra])


@pytest.mark.parametrize(
    "value", ["gpu; rm -rf /", "gpu\n#SBATCH --output=x", "$(id)", "a b", "a#b", "", "`id`", 'a"b', "a\\b"]
)
@pytest.mark.parametrize("key", ["partition", "account"])
def test_names_are_one_word(tmp_path, key, value):
    with pytest.raises(UserError, match=rf"executor\.{key}: found"):
        _study(tmp_path, **{key: value})


@pytest.mark.parametrize("value", ["soon", "0", "1:2:3:4", "-5", "00:00:30", "1-", "24:00:00; id", "٣:00:00"])
def test_times_that_slurm_does_not_know(tmp_path, value):
    with pytest.raises(UserError, match=r"executor\.time: found .*; allowed: a time limit for each job such as"):
        _study(tmp_path, time=value)


def test_options_with_spaces_and_quotes_are_one_word(tmp_path):
    text = scripts.training(_study(tmp_path, extra=['--mail-user=a "b" #c']), "x")
    (option,) = [option for option in _options(text) if "mail" in option]
    assert shlex.split(option) == ['--mail-user=a "b" #c']


def test_defaults_of_the_users_environment_are_written_out_and_the_file_is_above_them(tmp_path, monkeypatch):
    monkeypatch.setenv("SBATCH_PARTITION", "theirs")
    monkeypatch.setenv("SBATCH_ACCOUNT", "theirs")
    options = _options(scripts.training(_study(tmp_path, partition="mine"), "x"))
    assert "--partition=mine" in options
    assert "--account=theirs" in options


def test_a_script_that_somebody_has_changed_is_kept(tmp_path):
    file = _study(tmp_path)
    text = scripts.training(file, "x")
    assert scripts.write(file.results, "x", text)
    assert scripts.write(file.results, "x", scripts.training(_study(tmp_path, cpus=3), "x"))
    path = scripts.script_of(file.results, "x")
    path.write_text(path.read_text() + "# mine\n")
    assert not scripts.write(file.results, "x", text)
    assert path.read_text().endswith("# mine\n")
    path.unlink()
    assert scripts.write(file.results, "x", text)


def test_marks_tell_studies_and_runs_apart(tmp_path):
    one, other = tmp_path / "a", tmp_path / "b"
    marks = {scripts.mark_of(results, name) for results in (one, other) for name in ("x", "y")}
    assert len(marks) == 4
    assert all(mark.isascii() and " " not in mark and "|" not in mark for mark in marks)
