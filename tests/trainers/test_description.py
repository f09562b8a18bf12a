from __future__ import annotations

import json

from nnunet_fess.trainers.catalogue import LOSSES
from nnunet_fess.trainers.description import describe
from nnunet_fess.trainers.naming import parse


def test_every_trainer_describes_itself_in_json():
    for name, loss in LOSSES.items():
        read = json.loads(str(describe(parse(name), {"epochs": 1000})))
        assert read["trainer"] == name
        assert len(read["terms"]) == len(loss.terms)
        assert read["settings"]["epochs"] == 1000
        assert read["spelt out"] == []


def test_says_what_the_name_spells_out():
    lines = describe(parse("nnUNetTrainerCWCD_3mm"), {}).lines()
    assert any("mm = 3.0, " in line and "contour = 2.0 (default)" in line for line in lines)


def test_what_nobody_has_set_is_left_out():
    assert "seed" not in describe(parse("nnUNetTrainerCE"), {})["settings"]


def test_a_loss_of_a_subclass_is_not_called_ours():
    described = describe(parse("nnUNetTrainerFESS"), {}, built=False)
    assert "_build_loss" in described["loss"]
    assert described["terms"] == {}
