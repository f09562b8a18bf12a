"""BraTS 2023, adult glioma (GLI): 1251 training scans; several time points of one patient are possible."""

from __future__ import annotations

import re
from pathlib import PurePath

from dataset_conversion.datasets import brats
from dataset_conversion.facts import LABEL, Dataset, Edition, Scan

FILE = re.compile(r"(BraTS-GLI-(\d{5})-(\d{3}))-(t1n|t1c|t2w|t2f|seg)\.nii(?:\.gz)?", re.IGNORECASE)
ROLES = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair", "seg": LABEL}


def match(path: PurePath) -> tuple[Scan, str] | None:
    """`…/BraTS-GLI-00000-000-t2f.nii.gz` → the scan and its role."""
    found = FILE.fullmatch(path.name)
    if not found:
        return None
    name, number, time, role = found.groups()
    return Scan(EDITION.name, f"BraTS23_{number}_{time}_glioma", name, number, "glioma"), ROLES[role.lower()]


EDITION = Edition(
    "2023",
    "BraTS 2023 GLI",
    match,
    "BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2f.nii.gz (-t1n, -t1c, -t2w and -seg alike)",
    brats.LABELS_2023,
    {"glioma": 1251},
)

DATASET = Dataset(
    name="brats2023",
    title="BraTS2023",
    default_id=525,
    editions=(EDITION,),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2023 adult glioma training data; classes harmonised over the BraTS editions",
        "reference": "https://www.synapse.org/brats2023",
        "licence": "as agreed with the organisers; not to be passed on",
    },
    foreign=brats.FOREIGN,
)
