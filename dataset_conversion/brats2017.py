"""BraTS 2017: 285 training scans, one per patient, as `.nii.gz` in HGG and LGG."""

from __future__ import annotations

import re
import sys
from pathlib import PurePath

from dataset_conversion import brats
from dataset_conversion.facts import LABEL, UNKNOWN, Dataset, Edition, Scan

FILE = re.compile(r"(Brats17_(2013|CBICA|TCIA)_(\w+?)_(\d+))_(flair|t1ce|t1|t2|seg)\.nii(?:\.gz)?", re.IGNORECASE)


def match(path: PurePath) -> tuple[Scan, str] | None:
    """`…/HGG/…/Brats17_TCIA_153_1_flair.nii.gz` → the scan and its role."""
    found = FILE.fullmatch(path.name)
    if not found:
        return None
    name, centre, number, scan, role = found.groups()
    grade = brats.grade(path)
    # TCIA numbers are those of BraTS 2016; the 2013 subjects were renumbered within their grade.
    patient = f"2013_{grade}_{number}" if centre == "2013" else f"{centre.upper()}_{number.upper()}"
    return (
        Scan(
            edition=EDITION.name,
            id=f"BraTS17_{centre.upper()}_{number.upper()}_{scan}_{grade or UNKNOWN}",
            name=name,
            patient=patient,
            stratum=grade or UNKNOWN,
            needs_label=grade is not None,
        ),
        LABEL if role.lower() == "seg" else role.lower(),
    )


EDITION = Edition("2017", "BraTS 2017", match, brats.LABELS_2017, {"HGG": 210, "LGG": 75})

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
)

if __name__ == "__main__":
    from dataset_conversion.cli import main_of

    sys.exit(main_of(DATASET.name))
