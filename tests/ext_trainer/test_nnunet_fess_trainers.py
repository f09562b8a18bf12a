"""What nnU-Net's own search finds, through the environment variable."""

from __future__ import annotations

import os

import pytest
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.trainers import build


@pytest.fixture(autouse=True)
def found_by_nnunet(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, os.pathsep.join([str(DIRECTORY), str(tmp_path)]))


def test_nnunet_finds_a_trainer_with_options():
    name = "nnUNetTrainerFESS_lambda0p8_100epochs"
    assert recursive_find_trainer_class_by_name(name) is build(name)


def test_a_misspelt_option_ends_nnunet_with_the_message_alone(capsys):
    with pytest.raises(SystemExit) as exit_:
        recursive_find_trainer_class_by_name("nnUNetTrainerFESS_100epochs_lambda0p8")
    assert "Write nnUNetTrainerFESS_lambda0p8_100epochs." in str(exit_.value.code)


def test_a_trainer_of_another_extension_is_still_found(tmp_path):
    (tmp_path / "other.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n\n"
        "class nnUNetTrainerFESSOther(nnUNetTrainer): ...\n"
    )
    assert recursive_find_trainer_class_by_name("nnUNetTrainerFESSOther").__name__ == "nnUNetTrainerFESSOther"


def test_an_unknown_trainer_gets_a_hint_and_nnunets_error(capsys):
    with pytest.raises(RuntimeError, match="Could not find requested nnunet trainer"):
        recursive_find_trainer_class_by_name("nnUNetTrainerFES")
    assert "Did you mean nnUNetTrainerFESS" in capsys.readouterr().err
