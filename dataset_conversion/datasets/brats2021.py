"""BraTS 2021: 1251 training scans, one per patient, without grade, as `.nii.gz` on one level."""

from __future__ import annotations

import re
from pathlib import PurePath

from dataset_conversion.datasets import brats
from dataset_conversion.facts import LABEL, Dataset, Edition, Scan

FILE = re.compile(r"(BraTS2021_(\d{5}))_(flair|t1ce|t1|t2|seg)\.nii(?:\.gz)?", re.IGNORECASE)
FOLDER = re.compile(r"(BraTS2021_(\d{5}))", re.IGNORECASE)
TCIA_FILE = re.compile(r"\d+_(?:brain|final)_(flair|t1ce|t1|t2|seg)\.nii(?:\.gz)?", re.IGNORECASE)


def match(path: PurePath) -> tuple[Scan, str] | None:
    """`BraTS2021_00006_flair.nii.gz`, or TCIA's `BraTS2021_00006/00000057_brain_flair.nii`."""
    if found := FILE.fullmatch(path.name):
        name, number, role = found.groups()
    elif (folder := FOLDER.fullmatch(path.parent.name)) and (file := TCIA_FILE.fullmatch(path.name)):
        (name, number), role = folder.groups(), file[1]
    else:
        return None
    # The edition tells no grade. The id still ends in a word: five digits would be read as a channel number.
    scan = Scan(EDITION.name, f"BraTS21_{number}_glioma", name, number, "glioma")
    return scan, LABEL if role.lower() == "seg" else role.lower()


EDITION = Edition(
    "2021",
    "BraTS 2021",
    match,
    "BraTS2021_00006/BraTS2021_00006_flair.nii.gz (_t1, _t1ce, _t2 and _seg alike), or TCIA's "
    "BraTS2021_00006/00000057_brain_flair.nii",
    brats.LABELS_2017,
    {"glioma": 1251},
)

DATASET = Dataset(
    name="brats2021",
    title="BraTS2021",
    default_id=520,
    editions=(EDITION,),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2021 (RSNA-ASNR-MICCAI) training data; classes harmonised over the BraTS editions",
        "reference": "https://doi.org/10.7937/jc8x-9874",
        "licence": "as agreed with the organisers; TCIA's copy is CC BY 4.0",
    },
    foreign=brats.FOREIGN,
)
