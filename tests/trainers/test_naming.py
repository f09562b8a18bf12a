from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_fess.trainers.catalogue import LOSSES
from nnunet_fess.trainers.naming import NotOurs, number_text, parse

ALL = "nnUNetTrainerFESS_lambda0p8_temp0p1_eta1em4_100epochs_50iters_10valiters_seed3_noDS_noMirroring"


def test_every_option_is_read():
    assert dict(parse(ALL).options) == {
        "lambda": 0.8,
        "temp": 0.1,
        "eta": 1e-4,
        "epochs": 100,
        "iters": 50,
        "valiters": 10,
        "seed": 3,
        "noDS": True,
        "noMirroring": True,
    }


def test_an_option_that_is_not_spelt_out_has_its_default():
    assert parse("nnUNetTrainerFESS_100epochs")["lambda"] == 0.5


@pytest.mark.parametrize(
    ("name", "feature", "spatial"),
    [
        ("nnUNetTrainerDiceCE", None, "DiceCE"),
        ("nnUNetTrainerCWCD", None, "CWCD"),
        ("nnUNetTrainerFESS", "FESS", "Dice"),
        ("nnUNetTrainerFESSCWCD", "FESS", "CWCD"),
    ],
)
def test_terms(name, feature, spatial):
    loss = parse(name).loss
    assert (loss.feature and loss.feature.name, loss.region.name) == (feature, spatial)


@pytest.mark.parametrize(
    ("wrong", "problem", "right"),
    [
        ("nnUNetTrainerFESS_100epochs_lambda0p8", "out of order", "nnUNetTrainerFESS_lambda0p8_100epochs"),
        ("nnUNetTrainerFESS_lamda0p8", "unknown option 'lamda0p8'", "nnUNetTrainerFESS_lambda0p8"),
        ("nnUNetTrainerFESS_lambda0p80", "unknown option 'lambda0p80'", "nnUNetTrainerFESS_lambda0p8"),
        ("nnUNetTrainerFESS_lambda0.8", "unknown option 'lambda0.8'", "nnUNetTrainerFESS_lambda0p8"),
        ("nnUNetTrainerFESS_eta1e-4", "unknown option 'eta1e-4'", "nnUNetTrainerFESS_eta1em4"),
        ("nnUNetTrainerFESS__lambda0p8", "an underscore with nothing behind it", "nnUNetTrainerFESS_lambda0p8"),
        ("nnUNetTrainerFESS_", "an underscore with nothing behind it", "nnUNetTrainerFESS"),
        ("nnUNetTrainerfess_lambda0p8", "case-sensitive", "nnUNetTrainerFESS_lambda0p8"),
        ("nnUNetTrainerFESS100epochs", "set apart by '_'", "nnUNetTrainerFESS_100epochs"),
        ("nnUNetTrainerFESS_epochs100", "unknown option 'epochs100'", "nnUNetTrainerFESS_100epochs"),
        ("nnUNetTrainerCWCD_nods", "unknown option 'nods'", "nnUNetTrainerCWCD_noDS"),
        ("nnUNetTrainerCWCD_seed03", "unknown option 'seed03'", "nnUNetTrainerCWCD_seed3"),
        ("nnUNetTrainerFESS_noMirroring_lamda0p80", "unknown option", "nnUNetTrainerFESS_lambda0p8_noMirroring"),
    ],
)
def test_a_wrong_name_is_refused_with_the_right_one(wrong, problem, right):
    with pytest.raises(ValueError) as error:
        parse(wrong)
    assert problem in str(error.value)
    assert f"Write {right}." in str(error.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nnUNetTrainerDiceCE_lambda0p5", "nnUNetTrainerDiceCE has no option 'lambda0p5'"),
        ("nnUNetTrainerFESS_lambda1p5", "lambdaX takes 0 to 1"),
        ("nnUNetTrainerFESS_temp0", "tempX takes more than 0"),
        ("nnUNetTrainerFESS_0epochs", "Nepochs takes 1 or more"),
        ("nnUNetTrainerFESS_0iters", "Niters takes 1 or more"),
        ("nnUNetTrainerFESS_0valiters", "Nvaliters takes 1 or more"),
        ("nnUNetTrainerFESS_seed4294967296", "seedN takes 0 to 4294967295"),
        ("nnUNetTrainerCWCD_6mm_2erosions", "options '6mm' and '2erosions' exclude each other"),
        ("nnUNetTrainerFESS_lambda0p8_lambda0p7", "given twice"),
        ("nnUNetTrainerFESS_lambda0p8_lamda0p8", "given twice"),
        ("nnUNetTrainerFESS_banana", "unknown option 'banana'"),
        ("nnUNetTrainerFESS_1p5epochs", "unknown option '1p5epochs'"),
        ("nnUNetTrainerFESS_eta1e500", "unknown option 'eta1e500'"),
    ],
)
def test_a_name_that_cannot_be_mended_lists_the_options(name, problem):
    with pytest.raises(ValueError) as error:
        parse(name)
    assert problem in str(error.value)
    assert "_Nepochs  _Niters  _Nvaliters  _seedN  _bf16  _noDS  _noMirroring" in str(error.value)


@pytest.mark.parametrize("name", ["nnUNetTrainer", "nnUNetTrainerDiceCELoss_noSmooth", "nnUNetTrainer_100epochs", "cbDice", ""])
def test_names_of_others_are_left_to_others(name):
    with pytest.raises(NotOurs):
        parse(name)


def test_a_near_miss_names_the_trainer_that_was_meant():
    with pytest.raises(NotOurs, match="Did you mean nnUNetTrainerFESS"):
        parse("nnUNetTrainerFES_100epochs")


@given(
    loss=st.sampled_from(sorted(LOSSES)),
    values=st.fixed_dictionaries(
        {
            "lambda": st.none() | st.floats(0, 1).map(lambda value: float(f"{value:.6g}")),
            "eta": st.none() | st.floats(1e-7, 1e-2).map(lambda value: float(f"{value:.6g}")),
            "epochs": st.none() | st.integers(1, 10_000),
            "seed": st.none() | st.integers(0, 2**32 - 1),
            "noDS": st.booleans(),
        }
    ),
)
@settings(deadline=None, max_examples=100)
def test_every_setting_has_a_name_that_gives_it_back(loss, values):
    allowed = {option.key for option in LOSSES[loss].options}
    wanted = {key: value for key, value in values.items() if key in allowed and value is not None and value is not False}
    suffixes = [
        option.form
        if option.kind == "switch"
        else option.form.replace("X", "N").replace("N", number_text(wanted[option.key]), 1)
        for option in LOSSES[loss].options
        if option.key in wanted
    ]
    name = "_".join([loss, *suffixes])
    read = parse(name)
    assert "__" not in name
    assert read.options.keys() == wanted.keys()
    assert all(math.isclose(read.options[key], value, rel_tol=1e-9) for key, value in wanted.items())


@pytest.mark.parametrize(
    ("value", "text"), [(0.8, "0p8"), (1e-4, "1em4"), (1.5e-5, "1p5em5"), (100, "100"), (0.01, "0p01"), (2.5, "2p5"), (0, "0")]
)
def test_number_text(value, text):
    assert number_text(value) == text
