"""BraTS 2018: the 285 training scans of BraTS 2017 under new names, and another validation set."""

from __future__ import annotations

from dataset_conversion.datasets import brats
from dataset_conversion.facts import Dataset, Edition

EDITION = Edition(
    "2018",
    "BraTS 2018",
    brats.by_centre("2018", "Brats18"),
    "HGG/Brats18_TCIA01_147_1/Brats18_TCIA01_147_1_flair.nii.gz (_t1, _t1ce, _t2 and _seg alike)",
    brats.LABELS_2017,
    {"HGG": 210, "LGG": 75},
)

DATASET = Dataset(
    name="brats2018",
    title="BraTS2018",
    default_id=522,
    editions=(EDITION,),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2018 training data; classes harmonised over the BraTS editions",
        "reference": "https://www.med.upenn.edu/sbia/brats2018.html",
        "licence": "as agreed with the organisers; not to be passed on",
    },
    strata=brats.STRATA,
    foreign=brats.FOREIGN,
)
