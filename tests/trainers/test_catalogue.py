from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import nnunetv2
import pytest
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from nnunet_fess.trainers.catalogue import BUILT_IN, FEATURE, LOSSES, MAP, OPTIONS, REGION, features, maps, regions


def test_every_pair_of_terms_is_a_trainer():
    spatial = len(REGION) + len(MAP) + len(MAP) * len(REGION)
    assert len(LOSSES) == spatial * (1 + len(FEATURE))


def test_no_name_holds_nnunets_separator():
    assert [name for name in LOSSES if "__" in name] == []


def test_no_name_is_taken_by_nnunet_which_searches_its_own_first():
    folder, package = Path(nnunetv2.__path__[0]), "nnunetv2.training.nnUNetTrainer"
    # A search for what is not there imports every module, and looks in each for the name.
    assert recursive_find_python_class(str(folder / "training" / "nnUNetTrainer"), "nothing", package, str(folder)) is None
    own = {name for module in list(sys.modules) if module.startswith(package) for name in vars(sys.modules[module])}
    assert "nnUNetTrainerDiceCELoss_noSmooth" in own
    assert own & LOSSES.keys() == set()


def test_every_option_of_a_term_is_declared():
    declared = set(OPTIONS)
    used = {option for term in [*REGION.values(), *MAP.values(), *FEATURE.values()] for option in term.options}
    assert used <= declared


@pytest.mark.parametrize("module", [regions, maps, features], ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_term_is_declared_beside_its_builder(module):
    """One file for a term, and one for its loss, is all that a new one needs."""
    assert {Path(inspect.getfile(term.build)) for term in module.TERMS} == {Path(module.__file__)}


def test_every_term_of_the_three_files_is_in_the_catalogue_and_no_other():
    assert list(BUILT_IN.terms) == [*regions.TERMS, *maps.TERMS, *features.TERMS]


def test_the_order_of_options_in_a_name_stays():
    """Results lie under these names: a new option may come between two of them, none may move."""
    order = (
        *(
            "lambdaX",
            "alphaX",
            "equal",
            "gradual",
            "linear",
            "step",
            "cosine",
            "balanced",
            "capX",
            "contourX",
            "Xmm",
            "Nerosions",
        ),
        *(
            "adaptive",
            "tempX",
            "etaX",
            "etalr",
            "queueN",
            "levelN",
            "Nepochs",
            "Niters",
            "Nvaliters",
            "saveeveryN",
            "seedN",
            "bf16",
        ),
        *("noDS", "noMirroring", "cutmixX", "emaX"),
    )
    forms = list(dict.fromkeys(option.form for option in OPTIONS))
    assert [form for form in forms if form in order] == list(order)


@pytest.mark.parametrize(
    "code",
    [
        "import nnunet_fess.trainers.catalogue",
        "from nnunet_fess.trainers import parse; parse('nnUNetTrainerSupConRRWDiceCE_lambda0p9_cosine')",
        *(f"from nnunet_fess.cli.main import main; main(['trainers', {what}])" for what in ("", "'--all'", "'--json'")),
    ],
)
def test_listing_and_parsing_import_no_torch(code):
    code = f"import sys; {code}; assert not {{'torch', 'numpy', 'nnunetv2'}} & set(sys.modules), 'torch was imported'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
