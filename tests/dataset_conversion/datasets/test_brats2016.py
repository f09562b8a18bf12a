"""What the names in a BraTS 2016 download say."""

from __future__ import annotations

from pathlib import PurePath

import pytest

from dataset_conversion.datasets.brats2016 import match
from dataset_conversion.facts import LABEL

HGG = "BRATS2015_Training/HGG/brats_tcia_pat153_0109"


@pytest.mark.parametrize(
    ("path", "id", "role"),
    [
        (f"{HGG}/VSD.Brain.XX.O.MR_Flair.54512/VSD.Brain.XX.O.MR_Flair.54512.mha", "BraTS16_TCIA_153_0109_HGG", "flair"),
        (f"{HGG}/VSD.Brain.XX.O.MR_T1.54513/VSD.Brain.XX.O.MR_T1.54513.mha", "BraTS16_TCIA_153_0109_HGG", "t1"),
        (f"{HGG}/VSD.Brain.XX.O.MR_T1c.54514.mha", "BraTS16_TCIA_153_0109_HGG", "t1ce"),
        (f"{HGG}/SMIR.Brain.XX.O.MR_T2.54515.nii.gz", "BraTS16_TCIA_153_0109_HGG", "t2"),
        (f"{HGG}/VSD.Brain_3more.XX.O.OT.54517.mha", "BraTS16_TCIA_153_0109_HGG", LABEL),
        (f"{HGG}/VSD.Brain_2more.XX.XX.OT.6560.mha", "BraTS16_TCIA_153_0109_HGG", LABEL),
        (f"{HGG}/VSD.Brain_3more.XX.O.OT.nii", "BraTS16_TCIA_153_0109_HGG", LABEL),
        ("LGG/brats_2013_pat0001_1/VSD.Brain.XX.O.MR_T1.1.mha", "BraTS16_2013_0001_1_LGG", "t1"),
        ("HGG_LGG/brats_2013_pat0103_1/VSD.Brain.XX.O.MR_T1.1.mha", "BraTS16_2013_0103_1_unknown", "t1"),
        ("data_test/brats2016_test_tcia_pat114_0087/t1c.nii.gz", "BraTS16_TCIA_114_0087_unknown", "t1ce"),
        ("data_test/brats2016_test_2013_patx116_1/flair.nii", "BraTS16_2013_x116_1_unknown", "flair"),
    ],
)
def test_role(path: str, id: str, role: str) -> None:
    found = match(PurePath("/data") / path)
    assert found is not None
    assert (found[0].id, found[1]) == (id, role)


@pytest.mark.parametrize(
    "path",
    [
        f"{HGG}/VSD.Brain.XX.O.MR_T1x.54513.mha",
        f"{HGG}/VSD.Brain.XX.O.MR_T1.54513.txt",
        f"{HGG}/._VSD.Brain.XX.O.MR_T1.54513.mha",
        f"{HGG}/t1.nii.gz",
        "HGG/patient/VSD.Brain.XX.O.MR_T1.54513.mha",
    ],
)
def test_no_role(path: str) -> None:
    assert match(PurePath("/data") / path) is None


def test_one_folder_name_in_hgg_and_lgg_means_two_people() -> None:
    high, low = (match(PurePath(f"/{grade}/brats_2013_pat0001_1/VSD.Brain.XX.O.OT.1.mha")) for grade in ("HGG", "LGG"))
    assert high is not None and low is not None
    assert high[0].patient != low[0].patient
    assert high[0].id != low[0].id


def test_two_time_points_are_one_patient() -> None:
    scans = [match(PurePath(f"/HGG/brats_tcia_pat153_{time}/VSD.Brain.XX.O.OT.1.mha")) for time in ("0109", "0181")]
    assert {scan[0].patient for scan in scans if scan} == {"TCIA_153"}
