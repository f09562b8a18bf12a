"""BraTS 2017: 285 training scans, one per patient, as `.nii.gz` in HGG and LGG."""

from __future__ import annotations

from dataset_conversion.datasets import brats
from dataset_conversion.facts import Dataset, Edition

match = brats.by_centre("2017", "Brats17")
EDITION = Edition(
    "2017",
    "BraTS 2017",
    match,
    "HGG/Brats17_TCIA_153_1/Brats17_TCIA_153_1_flair.nii.gz (_t1, _t1ce, _t2 and _seg alike)",
    brats.LABELS_2017,
    {"HGG": 210, "LGG": 75},
)

DATASET = Dataset(
    name="brats2017",
    title="BraTS2017",
    default_id=517,
    editions=(EDITION,),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2017 training data; classes harmonised over the BraTS editions",
        "reference": "https://www.med.upenn.edu/sbia/brats2017.html",
        "licence": "as agreed with the organisers; not to be passed on",
    },
    strata=brats.STRATA,
    foreign=brats.FOREIGN,
)
