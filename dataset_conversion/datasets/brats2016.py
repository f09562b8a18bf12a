"""BraTS 2016 (SMIR "BRATS2016", unpacks to `BRATS2015_Training`): 274 training scans of 198 patients, as `.mha`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from dataset_conversion.datasets import brats
from dataset_conversion.errors import ConversionError
from dataset_conversion.facts import LABEL, UNKNOWN, Dataset, Edition, Numbers, Scan

VSD_FILE = re.compile(
    r"(?:VSD|SMIR)\.Brain(?:_\dmore)?\.XX\.(?:O|XX)\.(MR_Flair|MR_T1c|MR_T1|MR_T2|OT)(?:\.\d+)?\.(?:mha|nii|nii\.gz)",
    re.IGNORECASE,
)
PLAIN_FILE = re.compile(r"(flair|t1ce|t1c|t1|t2|ot|seg)\.(?:mha|nii|nii\.gz)", re.IGNORECASE)  # the 2016 test set
FOLDER = re.compile(r"brats_(?:(2013)_pat(\d+)_(\d+)|(tcia)_pat(\d+)_(\d+))", re.IGNORECASE)
TEST_FOLDER = re.compile(r"brats2016_test_(\w+?)_pat(x?\d+)_(\d+)", re.IGNORECASE)
ROLES = {"mr_flair": "flair", "mr_t1": "t1", "mr_t1c": "t1ce", "mr_t2": "t2", "t1c": "t1ce", "ot": LABEL, "seg": LABEL}


def match(path: PurePath) -> tuple[Scan, str] | None:
    """`…/HGG/brats_tcia_pat153_0109/…/VSD.Brain.XX.O.MR_Flair.54512.mha` → the scan and its role."""
    for folder in reversed(path.parent.parts):
        if found := FOLDER.fullmatch(folder):
            centre, number, scan = (part for part in found.groups() if part)
            file = VSD_FILE.fullmatch(path.name)
            grade = brats.grade(path)
            break
        if found := TEST_FOLDER.fullmatch(folder):
            centre, number, scan = found.groups()
            file = PLAIN_FILE.fullmatch(path.name)
            grade = None
            break
    else:
        return None
    if not file:
        return None
    centre = centre.upper()
    # The same number in HGG and LGG means two people; TCIA numbers stay with their patient through all editions.
    patient, maybe = (f"TCIA_{int(number)}", ()) if centre == "TCIA" else brats.renumbered(centre, grade, number)
    role = file[1].lower()
    return (
        Scan(
            edition=EDITION.name,
            id=f"BraTS16_{centre}_{number}_{scan}_{grade or UNKNOWN}",
            name=found[0],
            patient=patient,
            stratum=grade or UNKNOWN,
            needs_label=grade is not None,
            maybe=maybe,
        ),
        ROLES.get(role, role),
    )


def upload(entry: Mapping[str, Any], text: str) -> str:
    """`VSD.TEXT.ID.mha`: the evaluation server knows a case by the id of its FLAIR file.

    Raises:
        ConversionError: the download's file names had none.
    """
    if "flair" not in entry["vsd"]:
        raise ConversionError(f"{entry['name']}: the VSD id of its FLAIR is not known, as the file's name had none")
    return f"VSD.{text}.{entry['vsd']['flair']}.mha"


EDITION = Edition(
    "2016",
    "BraTS 2016",
    match,
    "HGG/brats_tcia_pat153_0109/…/VSD.Brain.XX.O.MR_Flair.54512.mha (MR_T1, MR_T1c, MR_T2 and OT alike)",
    brats.LABELS_2016,
    {"HGG": 220, "LGG": 54},
    numbers=Numbers("vsd", r"\.(\d+)\.(?:mha|nii|nii\.gz)$"),
    upload=upload,
)

DATASET = Dataset(
    name="brats2016",
    title="BraTS2016",
    default_id=516,
    editions=(EDITION,),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2016 training data. The organisers: the TCIA scans are pre- and post-operative, their "
        "labels fused from algorithms, and they were dropped from BraTS 2017 on",
        "reference": "https://www.smir.ch/BRATS/Start2016",
        "licence": "as agreed with the organisers; not to be passed on",
    },
    strata=brats.STRATA,
    foreign=brats.FOREIGN,
)
