"""AbdomenCT-1K: 1062 public CT, 1000 of them with masks of liver, kidneys, spleen and pancreas."""

from __future__ import annotations

import re
from pathlib import PurePath

from dataset_conversion.facts import LABEL, Dataset, Edition, Foreign, Scan, Target

FILE = re.compile(r"(Case_(\d{5}))(_0000)?\.nii(?:\.gz)?", re.IGNORECASE)
IMAGES = re.compile(r"(?!.*(?:mask|label)).*image.*|img|ct", re.IGNORECASE)  # a folder of images, whatever they are called
FOREIGN = (
    Foreign(r"FLARE|/(?:train|TrainCT)_\d+_\d{4}\.nii", "a FLARE challenge, with other names and, from 2022 on, more organs"),
    Foreign(r"/amos_\d{4}\.nii", "AMOS22: try  convert amos22"),
)


def match(path: PurePath) -> tuple[Scan, str] | None:
    """`Case_00001_0000.nii.gz` is the image, wherever it lies; `Case_00001.nii.gz` its mask, but for a folder of images."""
    found = FILE.fullmatch(path.name)
    if not found:
        return None
    name, number, channel = found.groups()
    is_image = channel or IMAGES.fullmatch(path.parent.name)
    return Scan(EDITION.name, f"AbdomenCT1K_{number}_CT", name, number, "CT", ct=True), "ct" if is_image else LABEL


# 62 public images have no mask, so a missing mask is no defect.
EDITION = Edition(
    "AbdomenCT-1K",
    "AbdomenCT-1K",
    match,
    "AbdomenCT-1K-ImagePart1/Case_00001_0000.nii.gz with its mask Mask/Case_00001.nii.gz",
    {value: value for value in range(5)},
    {"CT": 1000},
    in_parts=True,
)

DATASET = Dataset(
    name="abdomenct1k",
    title="AbdomenCT1K",
    default_id=519,
    editions=(EDITION,),
    channels={"ct": "CT"},
    reference="ct",
    targets={
        "labels": Target(
            {"background": 0, "liver": 1, "kidney": 2, "spleen": 3, "pancreas": 4}, {value: value for value in range(5)}
        )
    },
    about={
        "description": "AbdomenCT-1K; images without mask are in imagesTs",
        "reference": "Ma et al., AbdomenCT-1K: Is Abdominal Organ Segmentation A Solved Problem?, TPAMI 2022",
        "licence": "see the Zenodo records 5903099, 5903846, 5903769 and the source datasets",
    },
    # The scans are not all stored in one orientation, which nnU-Net's default reader ignores.
    reader="NibabelIOWithReorient",
    foreign=FOREIGN,
)
