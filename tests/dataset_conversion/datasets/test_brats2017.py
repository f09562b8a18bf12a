"""What the names in a BraTS 2017 download say."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from dataset_conversion.datasets import brats2016
from dataset_conversion.datasets.brats2017 import match
from dataset_conversion.facts import LABEL


@pytest.mark.parametrize(
    ("path", "id", "role"),
    [
        ("HGG/Brats17_TCIA_153_1/Brats17_TCIA_153_1_flair.nii.gz", "BraTS17_TCIA_153_1_HGG", "flair"),
        ("LGG/Brats17_TCIA_621_1/Brats17_TCIA_621_1_t1ce.nii", "BraTS17_TCIA_621_1_LGG", "t1ce"),
        ("HGG-t1/Brats17_CBICA_AAB_1_t1.nii", "BraTS17_CBICA_AAB_1_HGG", "t1"),
        ("HGG/Brats17_2013_10_1/Brats17_2013_10_1_seg/Brats17_2013_10_1_seg.nii", "BraTS17_2013_10_1_HGG", LABEL),
        ("Brats17ValidationData/Brats17_CBICA_AAM_1/Brats17_CBICA_AAM_1_t2.nii.gz", "BraTS17_CBICA_AAM_1_unknown", "t2"),
    ],
)
def test_role(path: str, id: str, role: str) -> None:
    found = match(PurePath("/data") / path)
    assert found is not None
    assert (found[0].id, found[1]) == (id, role)


@pytest.mark.parametrize("name", ["ROI_Brats17_TCIA_153_1_t1.nii", "Brats17_TCIA_153_1_t1.json", "Brats18_TCIA_153_1_t1.nii"])
def test_no_role(name: str) -> None:
    assert match(PurePath("/data/HGG") / name) is None


def test_tcia_patient_is_that_of_2016() -> None:
    later = match(PurePath("/HGG/Brats17_TCIA_153_1_t1.nii"))
    earlier = brats2016.match(PurePath("/HGG/brats_tcia_pat153_0109/VSD.Brain.XX.O.MR_T1.1.mha"))
    assert later is not None and earlier is not None
    assert later[0].patient == earlier[0].patient
