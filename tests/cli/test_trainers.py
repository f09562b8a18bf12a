from __future__ import annotations

import json
import os

import pytest

from nnunet_fess.cli import trainers
from nnunet_fess.trainers.catalogue import BUILT_IN, LOSSES, OPTIONS
from nnunet_fess.trainers.naming import parse
from nnunet_fess.trainers.registry import VARIABLE


def test_json_lists_every_trainer_with_its_options(capsys):
    assert trainers.main(["--json"]) == 0
    listing = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert listing.keys() == LOSSES.keys()
    fess = {option["suffix"]: option["default"] for option in listing["nnUNetTrainerFESS"]["options"]}
    assert (fess["_lambdaX"], fess["_tempX"], fess["_etaX"], fess["_Nepochs"]) == (0.5, 0.5, 1e-5, None)
    assert listing["nnUNetTrainerCWCD"]["options"][0].keys() == {"suffix", "default", "accepts", "help"}


def test_all_lists_the_names(capsys):
    assert trainers.main(["--all"]) == 0
    assert capsys.readouterr().out.split() == list(LOSSES)


def test_text_explains_every_term_and_every_option_and_is_short(capsys):
    assert trainers.main([]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {term.name} " in text for term in BUILT_IN.terms)
    assert all(term.summary in text for term in BUILT_IN.terms)
    assert all(f"\n  _{option.form} " in text for option in OPTIONS)
    assert all(option.help in text for option in OPTIONS)
    assert len(text.splitlines()) < 40 + len(BUILT_IN.terms) + 2 * len(OPTIONS)


def test_defaults_and_owners_are_those_that_the_terms_declare(capsys):
    trainers.main([])
    text = capsys.readouterr().out
    assert "default: 0.5, SupCon: 0.99, PixelCon: 0.9, Prototypes: 0.9; 0 to 1; every feature" in text
    assert "default: 0.5; 0 to 1; SDL, CWCD" in text
    assert "default: 0.5, InfoNCE: 0.1, SupCon: 0.1, PixelCon: 0.1, Prototypes: 0.1; more than 0; every feature" in text
    assert "default: nnU-Net's; 1 or more; every trainer" in text


def test_the_examples_are_trainers():
    assert [parse(name).name for name, _ in trainers._EXAMPLES]


@pytest.mark.parametrize("arguments", [[], ["--all"], ["--json"]])
def test_other_packages_terms_are_listed_and_what_is_broken_is_told(arguments, tmp_path, monkeypatch, capsys):
    (tmp_path / "good.py").write_text(
        "from nnunet_fess.plugin import Option, RegionTerm\n"
        'TERMS = (RegionTerm("Mine", "a loss of mine", "mine:build", (Option("g", "gammaX", 2.0, "how hard"),)),)\n'
    )
    (tmp_path / "bad.py").write_text("import no_such_package\n")
    monkeypatch.setenv(VARIABLE, os.pathsep.join([str(tmp_path / "good.py"), str(tmp_path / "bad.py")]))
    assert trainers.main(arguments) == 0
    said = capsys.readouterr()
    assert "bad.py: refused: it cannot be imported: ModuleNotFoundError" in (said.err if arguments else said.out)
    assert {"": "a loss of mine  [", "--all": "nnUNetTrainerFESSMine", "--json": "_gammaX"}["".join(arguments)] in said.out
    if not arguments:
        assert "how hard\n" + " " * 16 + "default: 2; anything; Mine" in said.out
