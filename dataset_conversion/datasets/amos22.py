"""AMOS22: 300 abdominal CT and 60 MR with 15 organs; the validation scans with label are used for training, too."""

from __future__ import annotations

import re
from pathlib import PurePath

from dataset_conversion.facts import LABEL, Dataset, Edition, Scan, Target

FILE = re.compile(r"(amos_(\d{4}))(?:_0000)?\.nii(?:\.gz)?", re.IGNORECASE)
FOLDER = re.compile(r"(images|labels)(Tr|Va|Ts)", re.IGNORECASE)
LAST_CT = 500  # ids above are MR
ORGANS = (
    *("spleen", "right kidney", "left kidney", "gall bladder", "esophagus", "liver", "stomach", "aorta", "postcava"),
    *("pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate or uterus"),
)
LABELS = {"background": 0} | {organ: value for value, organ in enumerate(ORGANS, start=1)}


def match(path: PurePath) -> tuple[Scan, str] | None:
    """`imagesTr/amos_0001.nii.gz` is an image, `labelsTr/amos_0001.nii.gz` its label: the folder tells the role."""
    found, folder = FILE.fullmatch(path.name), FOLDER.fullmatch(path.parent.name)
    if not found or not folder:
        return None
    name, number = found.groups()
    modality = "CT" if int(number) <= LAST_CT else "MR"
    scan = Scan(EDITION.name, f"AMOS22_{number}_{modality}", name, number, modality, ct=modality == "CT")
    return scan, "image" if folder[1].lower() == "images" else LABEL


EDITION = Edition(
    "AMOS22",
    "AMOS22",
    match,
    "imagesTr/amos_0001.nii.gz with its label labelsTr/amos_0001.nii.gz (also …Va, …Ts): the folder tells which is which",
    {value: value for value in LABELS.values()},
    {"CT": 300, "MR": 60},
)

DATASET = Dataset(
    name="amos22",
    title="AMOS22",
    default_id=521,
    editions=(EDITION,),
    # Not "CT": nnU-Net would then clip the MR at Hounsfield percentiles. Other names mean a z-score per image.
    channels={"image": "CT or MR"},
    reference="image",
    targets={"labels": Target(LABELS, {value: value for value in LABELS.values()})},
    about={
        "description": "AMOS22 as released after the challenge; labelled validation scans are used for training, too",
        "reference": "https://amos22.grand-challenge.org, https://zenodo.org/records/7262581",
        "licence": "see the Zenodo record",
    },
    reader="NibabelIOWithReorient",
)
