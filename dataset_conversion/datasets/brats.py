"""What the BraTS editions share: the harmonised classes, the channel order, the targets, the names of most of them.

Classes: 0 background, 1 edema, 2 necrosis and non-enhancing tumour, 3 enhancing tumour, as in nnU-Net's own BraTS
scripts. Channels: T1, T1ce, T2, Flair, as there; the Medical Segmentation Decathlon's Task01 uses another order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import PurePath

from dataset_conversion.facts import LABEL, UNKNOWN, Foreign, Scan, Strata, Target

CHANNELS = {"t1": "T1", "t1ce": "T1ce", "t2": "T2", "flair": "Flair"}
REFERENCE = "flair"
GRADES = ("HGG", "LGG")
# In the order of preference for the way back: a whole tumour becomes 2, which counts as no core, and a class that
# merged 1 and 3 becomes 1.
LABELS_2017 = {0: 0, 2: 1, 1: 2, 4: 3}
LABELS_2016 = {**LABELS_2017, 3: 2}  # 3, non-enhancing, was a class of its own until 2016
LABELS_2023 = {0: 0, 2: 1, 1: 2, 3: 3}  # enhancing tumour is 3 from 2023 on

TARGETS = {
    "regions": Target(
        {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]},
        {0: 0, 1: 1, 2: 2, 3: 3},
        regions_class_order=[1, 2, 3],
    ),
    "labels": Target(
        {"background": 0, "edema": 1, "necrosis and non-enhancing tumor": 2, "enhancing tumor": 3},
        {0: 0, 1: 1, 2: 2, 3: 3},
    ),
    "whole-tumor": Target({"background": 0, "whole tumor": 1}, {0: 0, 1: 1, 2: 1, 3: 1}),
}

STRATA = Strata("grades", "no folder HGG or LGG above it, which tells whose other scans it must stay with; restore the folder")
FOREIGN = (
    Foreign(
        r"/BRATS_\d{3}\.nii\.gz$",
        "Task01_BrainTumour of the Medical Segmentation Decathlon. Its cases are those of BraTS 2016 and 2017 under other "
        "names, so its patients cannot be kept on one side of a split; convert it alone, with nnUNetv2_convert_MSD_dataset",
        refused=True,
    ),
    Foreign(
        r"/TCGA-\w\w-\w{4}_[\d.]+_",
        "BraTS-TCGA-GBM or -LGG of The Cancer Imaging Archive: scans of BraTS 2017 under their TCGA names, which no converter "
        "here reads",
    ),
    Foreign(r"/UPENN-GBM-\d{5}_", "UPENN-GBM of The Cancer Imaging Archive, which no converter here reads"),
    Foreign(
        r"/BraTS-(?!GLI)[A-Z]+-\d{5}-\d{3}", "another tumour or cohort of BraTS 2023 or later, which no converter here reads"
    ),
    Foreign(r"\.dcm$", "DICOM; the challenge's own download is NIfTI, co-registered and without skull"),
)


def grade(path: PurePath) -> str | None:
    """The grade that the nearest folder named so gives (`HGG`, `LGG`, `HGG-t1`), or None.

    `HGG_LGG`, the folder of the 2015 test set, is neither.
    """
    for folder in reversed(path.parent.parts):
        if found := re.fullmatch(r"(HGG|LGG)(?:-\w+)?", folder, re.IGNORECASE):
            return found[1].upper()
    return None


def renumbered(centre: str, grade: str | None, number: str) -> tuple[str, tuple[str, ...]]:
    """The patient of a 2013 subject, and who it may be where no folder tells the grade: numbers are those of a grade."""
    if grade:
        return f"{centre}_{grade}_{number}", ()
    return f"{centre}_{UNKNOWN}_{number}", tuple(f"{centre}_{grade}_{number}" for grade in GRADES)


def by_centre(edition: str, prefix: str) -> Callable[[PurePath], tuple[Scan, str] | None]:
    """The `match` of BraTS 2017 to 2019: `…/HGG/…/Brats17_TCIA_153_1_flair.nii.gz` → the scan and its role.

    Args:
        edition: its name, the year.
        prefix: what names begin with; the case id begins the same way.
    """
    pattern = re.compile(
        rf"({prefix}_([A-Z0-9]+)_(\w+?)_(\d+))_(flair|t1ce|t1|t2|seg)\.nii(?:\.gz)?",
        re.IGNORECASE,
    )

    def match(path: PurePath) -> tuple[Scan, str] | None:
        found = pattern.fullmatch(path.name)
        if not found:
            return None
        name, centre, number, scan, role = (
            part.upper() if place in (1, 2) else part for place, part in enumerate(found.groups())
        )
        graded = grade(path)
        if centre == "2013":
            patient, maybe = renumbered(centre, graded, number)
        else:
            # TCIA's numbers are those of BraTS 2016; from 2018 on the collection stands before them (TCIA01_147).
            patient, maybe = f"{'TCIA' if centre.startswith('TCIA') else centre}_{number}", ()
        return (
            Scan(
                edition=edition,
                id=f"BraTS{edition[2:]}_{centre}_{number}_{scan}_{graded or UNKNOWN}",
                name=name,
                patient=patient,
                stratum=graded or UNKNOWN,
                needs_label=graded is not None,
                maybe=maybe,
            ),
            LABEL if role.lower() == "seg" else role.lower(),
        )

    return match
