"""What nnU-Net's own search finds, through the environment variable, and how a search that finds nothing ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_fess import search
from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.trainers import build

THEIRS = ["nnUNetTrainerCE_focal", "nnUNetTrainerdice", "nnUNetTrainerDiceCE_5x", "nnUNetTrainerFESSOther"]


@pytest.fixture(autouse=True)
def own_hook(monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture(params=["ours first", "theirs first"])
def their_folder(request, monkeypatch, tmp_path: Path) -> Path:
    """A folder of other people's trainers, before or behind ours."""
    folder = tmp_path / "théirs"
    folder.mkdir()
    order = [str(DIRECTORY), str(folder)]
    monkeypatch.setenv(VARIABLE, os.pathsep.join(order if request.param == "ours first" else reversed(order)))
    return folder


def write_trainer(folder: Path, name: str) -> None:
    (folder / "other.py").write_text(
        f"from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\nclass {name}(nnUNetTrainer): ...\n"
    )


def test_nnunet_finds_a_trainer_with_options(their_folder):
    name = "nnUNetTrainerFESS_lambda0p8_100epochs"
    assert recursive_find_trainer_class_by_name(name) is build(name)


@pytest.mark.parametrize("name", THEIRS)
def test_a_trainer_of_another_extension_is_found_and_nothing_said_against_it(their_folder, name, capsys):
    write_trainer(their_folder, name)
    assert recursive_find_trainer_class_by_name(name).__name__ == name
    assert capsys.readouterr().err == ""


def test_one_that_is_not_written_down_there_is_found_too(their_folder):
    (their_folder / "made.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\n"
        "globals().update({'nnUNetTrainerCE_focal': type('nnUNetTrainerCE_focal', (nnUNetTrainer,), {})})\n"
    )
    assert recursive_find_trainer_class_by_name("nnUNetTrainerCE_focal").__name__ == "nnUNetTrainerCE_focal"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nnUNetTrainerFES", "Did you mean nnUNetTrainerFESS"),
        ("nnUNetTrainerFESS_100epochs_lambda0p8", "Write nnUNetTrainerFESS_lambda0p8_100epochs."),
    ],
)
def test_an_unknown_trainer_gets_a_hint_and_nnunets_error(their_folder, name, hint, capsys):
    with pytest.raises(RuntimeError, match="Could not find requested nnunet trainer"):  # as `except Exception` can see it
        recursive_find_trainer_class_by_name(name)
    assert hint in capsys.readouterr().err


def test_in_a_ddp_worker_the_error_is_the_hint(monkeypatch):
    monkeypatch.setenv(VARIABLE, str(DIRECTORY))
    monkeypatch.setattr(search, "_is_ddp_worker", lambda: True)
    with pytest.raises(Exception, match="Did you mean nnUNetTrainerFESS"):
        recursive_find_trainer_class_by_name("nnUNetTrainerFES")


def find(name: str, variable: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Nnu-Net's search in a process of its own, as its commands do it."""
    script = (
        "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find\n"
        f"print('found', find({name!r}).__name__)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, VARIABLE: variable, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("nnUNetTrainerFES_2epochs", "Did you mean nnUNetTrainerFESS_2epochs? All of them: nnunet_fess trainers"),
        ("nnUNetTrainerFESS_lambda0,5", "Write nnUNetTrainerFESS_lambda0p5."),
    ],
)
def test_the_command_ends_with_the_hint_and_without_a_traceback(name, last, tmp_path):
    done = find(name, os.pathsep.join([str(DIRECTORY), str(tmp_path), ""]))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert last in done.stderr[done.stderr.rindex("nnU-Net found no trainer") :]


def test_another_error_behind_a_hint_keeps_its_traceback(tmp_path):
    (tmp_path / "broken.py").write_text("raise KeyError('theirs')\n")
    done = find("nnUNetTrainerFES", os.pathsep.join([str(DIRECTORY), str(tmp_path)]))
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("KeyError: 'theirs'")


@pytest.mark.parametrize("missing", ["import_it", "use_it"])
def test_where_our_package_does_not_work_the_others_are_found(tmp_path, missing):
    # An environment without the package, or with one that breaks when it is used.
    hidden = {"import_it": "nnunet_fess", "use_it": "nnunet_fess.plugin"}[missing]
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(f"import sys\nsys.modules[{hidden!r}] = None\n")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write_trainer(theirs, "nnUNetTrainerTheirs")
    variable = os.pathsep.join([str(DIRECTORY), str(theirs)])
    done = find("nnUNetTrainerTheirs", variable, PYTHONPATH=str(tmp_path / "hide"))
    assert "found nnUNetTrainerTheirs" in done.stdout, done.stderr
    done = find("nnUNetTrainerFESS", variable, PYTHONPATH=str(tmp_path / "hide"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"does not work with {sys.executable}: ModuleNotFoundError" in done.stderr.splitlines()[-1]


def test_a_users_mistake_ends_the_command_with_its_message_alone():
    script = (
        "from nnunet_fess import search\nfrom nnunet_fess.trainers.errors import TrainingRefused\n"
        "search.find('nnUNetTrainerFESS')\nprint('before')\nraise TrainingRefused('_bf16 is for a CPU.')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "nnunet-fess: _bf16 is for a CPU.\n")
