from __future__ import annotations

from pathlib import Path

import nnunetv2
import pytest
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from nnunet_fess.trainers.catalogue import FEATURE, LOSSES, MAP, OPTIONS, REGION


def test_every_pair_of_terms_is_a_trainer():
    spatial = len(REGION) + len(MAP) + len(MAP) * len(REGION)
    assert len(LOSSES) == spatial * (1 + len(FEATURE))


@pytest.mark.parametrize("name", LOSSES)
def test_no_name_holds_nnunets_separator(name):
    assert "__" not in name


@pytest.mark.parametrize("name", LOSSES)
def test_no_name_is_taken_by_nnunet_which_searches_its_own_first(name):
    folder = Path(nnunetv2.__path__[0])
    own = recursive_find_python_class(
        str(folder / "training" / "nnUNetTrainer"), name, "nnunetv2.training.nnUNetTrainer", str(folder)
    )
    assert own is None


def test_every_option_of_a_term_is_declared():
    declared = set(OPTIONS)
    used = {option for term in [*REGION.values(), *MAP.values(), *FEATURE.values()] for option in term.options}
    assert used <= declared
