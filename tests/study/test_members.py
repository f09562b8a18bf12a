"""Which ensembles a file means, and which of its wishes for them make no sense."""

from __future__ import annotations

import json

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.study.config import load
from nnunet_fess.study.members import control_of, ensembles, probabilities_wanted

BASE = {"name": "a", "dataset": 5, "trainers": ["DiceCE", "CWCD", "Dice", "FESS", "nnUNetTrainer"], "seeds": [0, 1, 2]}


@pytest.fixture
def read(tmp_path):
    def read(**changes):
        (tmp_path / "study.yaml").write_text(json.dumps({**BASE, **changes}))
        return load(tmp_path / "study.yaml")

    return read


def test_losses_seeds_and_their_control(read):
    file = read(ensembles={"losses": ["DiceCE", "CWCD", "Dice"]}, folds=[0, 1])
    found = [one for one in ensembles(file) if one.members[0].subset.fold == 0]
    assert [(one.label, one.id) for one in found] == [
        *(("ensemble: losses DiceCE + CWCD + Dice", f"ensemble-losses-seed{seed}-fold0-all") for seed in (0, 1, 2)),
        ("ensemble: 3 seeds of DiceCE", "ensemble-seeds-DiceCE-seed0+1+2-fold0-all"),
    ]
    assert [job.id for job in found[1].members] == [f"{name}-seed1-fold0-all" for name in ("DiceCE", "CWCD", "Dice")]
    assert [job.id for job in found[3].members] == [f"DiceCE-seed{seed}-fold0-all" for seed in (0, 1, 2)]
    assert control_of(file) == "ensemble: 3 seeds of DiceCE"
    assert len(ensembles(file)) == 8
    assert len({one.id for one in ensembles(file)}) == 8


def test_no_seed_is_in_two_ensembles(read):
    file = read(seeds=[0, 1, 2, 3, 4], ensembles={"losses": ["DiceCE", "CWCD"], "seeds": ["CWCD"]})
    of_seeds = [[job.seed for job in one.members] for one in ensembles(file) if "seeds of" in one.label]
    assert of_seeds == [[0, 1], [2, 3]] * 2


def test_learned_weights_are_for_test_cases_of_their_own(read):
    wish = {"losses": ["DiceCE", "CWCD", "Dice"]}
    assert {one.weights for one in ensembles(read(ensembles=wish))} == {"mean"}
    file = read(ensembles=wish, test="imagesTs")
    assert {one.weights for one in ensembles(file)} == {"mean", "learned"}
    assert "weighted ensemble: 3 seeds of DiceCE" in {one.label for one in ensembles(file)}
    assert probabilities_wanted(file, "CWCD") == (True, True)
    assert probabilities_wanted(file, "FESS") == (False, False)
    assert probabilities_wanted(read(ensembles={**wish, "weights": ["mean"]}, test="imagesTs"), "Dice") == (False, True)
    assert probabilities_wanted(read(ensembles=wish), "Dice") == (True, False)


def test_without_the_key_there_are_none(read):
    assert ensembles(read()) == []
    assert probabilities_wanted(read(), "DiceCE") == (False, False)


@pytest.mark.parametrize(
    ("wish", "more", "message"),
    [
        ({"losses": ["DiceCE"]}, {}, "ensembles.losses: found ['DiceCE']; allowed: a list of at least two"),
        ({"losses": ["DiceCE", "GDL"]}, {}, "ensembles.losses.1: found 'GDL'; allowed: trainers of this study that have seeds"),
        ({"losses": ["DiceCE", "nnUNetTrainer"]}, {}, "ensembles.losses.1: found 'nnUNetTrainer'; allowed: trainers"),
        ({"losses": ["DiceCE", "CWCD", "CWCD"]}, {}, "ensembles.losses.2: found CWCD twice"),
        (
            {"losses": ["DiceCE", "CWCD", "Dice", "FESS"]},
            {},
            "found 3 seeds for an ensemble of 4 losses, whose control",
        ),
        ({"seeds": ["CWCD"]}, {"seeds": [0]}, "found 1 seeds for an ensemble of seeds; allowed: at least 2"),
        ({"losses": ["CWCD", "Dice"]}, {"baseline": "nnUNetTrainer"}, "seeds of the baseline, and nnUNetTrainer has none"),
        (
            {"losses": ["CWCD", "Dice"], "weights": ["learned"]},
            {},
            "found learned with test: validation; weights are",
        ),
        ({}, {}, "found neither losses nor seeds"),
        ({"loss": ["CWCD"]}, {}, "ensembles.loss: no such key (did you mean losses?)"),
        ({"weights": ["max"], "seeds": ["CWCD"]}, {}, "ensembles.weights.0: found 'max'; allowed: a list of mean and learned"),
    ],
)
def test_wishes_that_make_no_sense(read, wish, more, message):
    with pytest.raises(UserError) as caught:
        read(ensembles=wish, **more)
    assert message in str(caught.value)
