from __future__ import annotations

import json

from nnunet_fess.cli import trainers
from nnunet_fess.trainers.catalogue import LOSSES, OPTIONS


def test_json_lists_every_trainer_with_its_options(capsys):
    assert trainers.main(["--json"]) == 0
    listing = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listing.keys() == LOSSES.keys()
    fess = {option["suffix"]: option["default"] for option in listing["nnUNetTrainerFESS"]["options"]}
    assert (fess["_lambdaX"], fess["_tempX"], fess["_etaX"], fess["_Nepochs"]) == (0.5, 0.5, 1e-5, None)


def test_text_names_every_trainer_and_explains_every_option(capsys):
    assert trainers.main([]) == 0
    text = capsys.readouterr().out
    assert all(f"\n{name} " in f"\n{text}" for name in LOSSES)
    assert all(option.help in text for option in OPTIONS)
