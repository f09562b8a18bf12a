from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_fess.trainers import NameRefused, NotOurs, catalogue, parse
from nnunet_fess.trainers.catalogue import LOSSES, Catalogue
from nnunet_fess.trainers.naming import number_text

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
        ("nnUNetTrainerFESS_lambda0,5", "unknown option 'lambda0,5'", "nnUNetTrainerFESS_lambda0p5"),
        ("nnUNetTrainerFESS_lambda.5", "unknown option 'lambda.5'", "nnUNetTrainerFESS_lambda0p5"),
        ("nnUNetTrainerFESS_lambdap5", "unknown option 'lambdap5'", "nnUNetTrainerFESS_lambda0p5"),
        ("nnUNetTrainerFESS_lambda=0.5", "unknown option", "nnUNetTrainerFESS_lambda0p5"),
        ("nnUNetTrainerFESS_LAMBDA0P5", "unknown option", "nnUNetTrainerFESS_lambda0p5"),
        ("nnUNetTrainerFESS_eta1E-4", "unknown option", "nnUNetTrainerFESS_eta1em4"),
        ("nnUNetTrainerFESS_eta1e6", "unknown option", "nnUNetTrainerFESS_eta1000000"),
        ("nnUNetTrainerCWCD_contour1e3", "unknown option", "nnUNetTrainerCWCD_contour1000"),
        ("nnUNetTrainerCWCD_1e2mm", "unknown option", "nnUNetTrainerCWCD_100mm"),
        ("nnUNetTrainerCWCD_2e3epochs", "unknown option", "nnUNetTrainerCWCD_2000epochs"),
        ("nnUNetTrainerCWCD_seed+3", "unknown option", "nnUNetTrainerCWCD_seed3"),
        ("nnUNetTrainerCWCD_epoch100", "unknown option", "nnUNetTrainerCWCD_100epochs"),
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
        ("nnUNetTrainerFESS_lambda-0.5", "a name cannot say a negative number"),
        ("nnUNetTrainerFESS_lambda−0,5", "a name cannot say a negative number"),
        ("nnUNetTrainerFESS_lambda1,5", "lambdaX takes 0 to 1"),
        ("nnUNetTrainerFESS_lamdap5", "perhaps _lambdaX, but it is not clear which value is meant"),
        ("nnUNetTrainerFESS_1kepochs", "perhaps _Nepochs, but it is not clear which value is meant"),
        ("nnUNetTrainerFESS_1,000epochs", "'1,000' is not clear"),
        ("nnUNetTrainerFESS_lambda50%", "'50%' is not clear"),
        ("nnUNetTrainerFESS_eta1em-4", "'1em-4' is not clear"),
        ("nnUNetTrainerFESS_3.5epochs", "Nepochs takes a whole number"),
        ("nnUNetTrainerFESS_lambda_0p8", "_lambdaX needs a number"),
        ("nnUNetTrainerFESS_noDS1", "_noDS takes no value"),
        ("nnUNetTrainerFESS_mirroring", "unknown option 'mirroring'"),
        ("nnUNetTrainerFESS_noDA", "unknown option 'noDA'"),
        ("nnUNetTrainerFESS_fp16", "unknown option 'fp16'"),
        ("nnUNetTrainerFESS_beta0p5", "unknown option 'beta0p5'"),
        ("nnUNetTrainerFESS_6cm_noMirroring", "unknown option '6cm'"),
        ("nnUNetTrainerFESS2", "unknown option '2'"),
        ("nnUNetTrainerFocalTversky_3", "unknown option '3'"),
        ("nnUNetTrainerFESS_1_000epochs", "unknown option '1'"),
        ("nnUNetTrainerFESS_lambda1em400", "no computer's float can hold"),
        ("nnUNetTrainerFESS_1" + "0" * 5000 + "epochs", "at most 200"),
    ],
)
def test_a_name_that_cannot_be_mended_lists_the_options(name, problem):
    with pytest.raises(ValueError) as error:
        parse(name)
    assert problem in str(error.value)
    assert "Write" not in str(error.value)
    assert "_Nepochs  _Niters  _Nvaliters  _saveeveryN  _seedN  _bf16  _noDS  _noMirroring  _cutmixX  _emaX" in str(error.value)


@given(
    loss=st.sampled_from(sorted(LOSSES)),
    rest=st.text(st.sampled_from("_0123456789pem.,-+/ ²½٣１λαaNX\n") | st.characters(), max_size=12),
)
@settings(deadline=None, max_examples=400)
def test_whatever_follows_a_trainer_it_is_read_or_refused(loss, rest):
    try:
        assert parse(loss + rest).name == loss + rest
    except NameRefused as error:
        assert error.advice is None or parse(error.advice).name == error.advice


@pytest.mark.parametrize("name", ["nnUNetTrainer", "nnUNetTrainerDiceCELoss_noSmooth", "nnUNetTrainer_100epochs", "cbDice", ""])
def test_names_of_others_are_left_to_others(name):
    with pytest.raises(NotOurs):
        parse(name)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("nnUNetTrainerFES_100epochs", "nnUNetTrainerFESS_100epochs"),
        ("nnUNetTrainerFES_lambda0,5", "nnUNetTrainerFESS_lambda0p5"),
        ("nnUNetTrainer_FESS", "nnUNetTrainerFESS"),
        ("nnUNetTrainer_FESS_lamda0.5", "nnUNetTrainerFESS_lambda0p5"),
        ("nnUNetTrainer_7epochs", "nnUNetTrainerDiceCE_7epochs"),
        ("nnUNetTrainerFESSDice", "nnUNetTrainerFESS"),
        ("nnUNetTrainerCWCDFESS_3epochs", "nnUNetTrainerFESSCWCD_3epochs"),
        ("nnUNetTrainerCWC", "nnUNetTrainerCWCE or nnUNetTrainerCWCD"),
        ("nnUNetTrainerDiceCELoss", "nnUNetTrainerDiceCE"),
    ],
)
def test_a_near_miss_names_the_trainer_that_was_meant(wrong, meant):
    with pytest.raises(NotOurs) as error:
        parse(wrong)
    assert f"Did you mean {meant}?" in str(error.value)


@st.composite
def typed_numbers(draw) -> tuple[str, Fraction]:
    """A number as people type it, and its value."""
    whole, part = (
        draw(st.sampled_from(["", "0", "00", "1", "7", "12", "100"])),
        draw(st.sampled_from(["", "5", "50", "025", "125"])),
    )
    part = part or ("5" if not whole else "")
    point = draw(st.sampled_from([".", "p", "P", ","])) if part else ""
    exponent = draw(st.sampled_from([0, 0, 1, 3, -1, -4, -6]))
    written = draw(
        st.sampled_from({0: [""], 1: ["e1", "E+1"], 3: ["e3", "E+3"]}.get(exponent, [f"e{exponent}", f"em{-exponent}"]))
    )
    value = Fraction(f"{whole or 0}.{part or 0}") * Fraction(10) ** exponent
    sign = draw(st.sampled_from(["", "", "=", "+", "-"]))
    return f"{sign}{whole}{point}{part}{written}", -value if sign == "-" else value


WORDS = [
    "lambda",
    "Lambda",
    "lamda",
    "temp",
    "eta",
    "ETA",
    "mm",
    "epochs",
    "epoch",
    "contour",
    "contours",
    "queue",
    "seed",
    "sed",
]


@given(loss=st.sampled_from(sorted(LOSSES)), word=st.sampled_from(WORDS), number=typed_numbers(), first=st.booleans())
@settings(deadline=None, max_examples=400)
def test_a_suggested_name_is_valid_and_says_the_number_that_was_typed(loss, word, number, first):
    text, value = number
    try:
        read = parse(f"{loss}_{text}{word}" if first else f"{loss}_{word}{text}")
    except NameRefused as error:
        if error.advice is None:
            return
        read = parse(error.advice)
    (found,) = read.options.values()
    assert found == float(value)


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("nnUNetTrainerFESS_lambda0", "λ = 0: the spatial loss counts nothing"),
        ("nnUNetTrainerFESS_lambda1", "λ = 1: the feature term counts nothing"),
        ("nnUNetTrainerSDL_lambda0", "λ = 0: what lies on the contour counts nothing"),
        ("nnUNetTrainerFESS_lambda0p5", None),
        ("nnUNetTrainerFESSSDL", None),
    ],
)
def test_values_that_are_rarely_meant_are_remarked(name, remark):
    assert [text[: len(remark or "")] for text in parse(name).remarks] == ([remark] if remark else [])


def test_a_renamed_terms_old_name_is_read_for_ever(monkeypatch):
    monkeypatch.setitem(catalogue.RENAMED, "Contrast", "FESS")
    read = parse("nnUNetTrainerContrastCWCD_lambda0p8", Catalogue())
    assert (read.name, read.loss.trainer) == ("nnUNetTrainerContrastCWCD_lambda0p8", "nnUNetTrainerFESSCWCD")
    assert parse("nnUNetTrainerContrast", Catalogue()).loss.trainer == "nnUNetTrainerFESS"


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
