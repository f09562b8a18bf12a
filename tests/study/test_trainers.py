"""From the file's trainers to nnU-Net's names."""

from __future__ import annotations

import pytest

from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.study.trainers import choose, others


@pytest.mark.parametrize(
    ("given", "options", "name"),
    [
        ("DiceCE", "", "nnUNetTrainerDiceCE_seed4"),
        ("nnUNetTrainerDiceCE", "3epochs", "nnUNetTrainerDiceCE_3epochs_seed4"),
        ("CWCD_adaptive_3mm", "noDS_3epochs", "nnUNetTrainerCWCD_3mm_adaptive_3epochs_seed4_noDS"),
        ("nnUNetTrainerDiceCELoss_noSmooth", "3epochs", "nnUNetTrainerDiceCELoss_noSmooth"),
        ("nnUNetTrainer", "3epochs", "nnUNetTrainer"),
    ],
)
def test_names(given, options, name):
    (trainer,), mistakes = choose([given], options)
    assert mistakes == []
    assert trainer.name(4) == name


@pytest.mark.parametrize("given", ["Dicce", "nnUNetTrainer__x", "a b", "dice/ce"])
def test_what_is_no_trainer(given):
    _, mistakes = choose([given], "")
    assert [key for key, _ in mistakes] == ["trainers.0"]


def test_nnunets_own_trainers_and_other_extensions_are_found(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("class nnUNetTrainerMine(nnUNetTrainer):\n    pass\n")
    monkeypatch.setenv(VARIABLE, f"{DIRECTORY}:{tmp_path}")
    assert {"nnUNetTrainer", "nnUNetTrainerDiceCELoss_noSmooth", "nnUNetTrainerMine"} <= others()


def test_a_wrong_option_for_all_is_told_once():
    trainers, mistakes = choose(["DiceCE", "FESS", "Dice"], "12epoch")
    assert not trainers
    ((key, told),) = mistakes
    assert key == "options"
    assert told.count("12epochs") == 1
    assert "the same for FESS, Dice" in told
