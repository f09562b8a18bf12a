"""BraTS 2019: 335 training scans, one per patient, in HGG and LGG; those of 2018 are among them."""

from __future__ import annotations

from dataset_conversion.datasets import brats
from dataset_conversion.facts import Dataset, Edition

EDITION = Edition(
    "2019",
    "BraTS 2019",
    brats.by_centre("2019", "BraTS19"),
    "HGG/BraTS19_TCIA01_147_1/BraTS19_TCIA01_147_1_flair.nii.gz (_t1, _t1ce, _t2 and _seg alike)",
    brats.LABELS_2017,
    {"HGG": 259, "LGG": 76},
)

DATASET = Dataset(
    name="brats2019",
    title="BraTS2019",
    default_id=523,
    editions=(EDITION,),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2019 training data; classes harmonised over the BraTS editions",
        "reference": "https://www.med.upenn.edu/cbica/brats2019.html",
        "licence": "as agreed with the organisers; not to be passed on",
    },
    strata=brats.STRATA,
    foreign=brats.FOREIGN,
)
