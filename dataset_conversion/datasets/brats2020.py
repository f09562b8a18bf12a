"""BraTS 2020: 369 training scans, one per patient, on one level: grades are in a table, not in the names."""

from __future__ import annotations

import re
from pathlib import PurePath

from dataset_conversion.datasets import brats
from dataset_conversion.facts import LABEL, Dataset, Edition, Scan

FILE = re.compile(r"(BraTS20_(Training|Validation)_(\d{3}))_(flair|t1ce|t1|t2|seg)\.nii(?:\.gz)?", re.IGNORECASE)
FOLDER = re.compile(r"(BraTS20_(Training|Validation)_(\d{3}))", re.IGNORECASE)
MISNAMED = re.compile(r"W39_1998\.09\.19_Segm\.nii(?:\.gz)?", re.IGNORECASE)  # the label of BraTS20_Training_355


def match(path: PurePath) -> tuple[Scan, str] | None:
    """`…/BraTS20_Training_001_flair.nii` → the scan and its role; one label was released under a foreign name."""
    role = "seg"
    if found := FILE.fullmatch(path.name):
        role = found[4].lower()
    elif not (MISNAMED.fullmatch(path.name) and (found := FOLDER.fullmatch(path.parent.name))):
        return None
    subset = found[2].capitalize()
    scan = Scan(
        edition=EDITION.name,
        id=f"BraTS20_{subset}_{found[3]}_glioma",
        name=found[1],
        patient=f"{subset}_{found[3]}",
        stratum="glioma",
        needs_label=subset == "Training",
    )
    return scan, LABEL if role == "seg" else role


EDITION = Edition(
    "2020",
    "BraTS 2020",
    match,
    "BraTS20_Training_001/BraTS20_Training_001_flair.nii (_t1, _t1ce, _t2 and _seg alike)",
    brats.LABELS_2017,
    {"glioma": 369},
)

DATASET = Dataset(
    name="brats2020",
    title="BraTS2020",
    default_id=524,
    editions=(EDITION,),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2020 training data; classes harmonised over the BraTS editions",
        "reference": "https://www.med.upenn.edu/cbica/brats2020/data.html",
        "licence": "as agreed with the organisers; not to be passed on",
    },
    foreign=brats.FOREIGN,
)
