"""BraTS 2016 and 2017 together: 559 scans of 314 patients."""

from __future__ import annotations

from dataset_conversion.datasets import brats, brats2016, brats2017
from dataset_conversion.facts import Dataset, Scan


def group(scan: Scan) -> str:
    """The patient; the 2013 subjects of one grade together.

    Both editions contain them, renumbered, and no map was published: any of one edition may be any of the other.
    """
    centre, *rest = scan.patient.split("_")
    return f"2013_{rest[0]}" if centre == "2013" and rest[0] in ("HGG", "LGG") else scan.patient


DATASET = Dataset(
    name="brats2016_2017",
    title="BraTS2016and2017",
    default_id=518,
    editions=(brats2016.EDITION, brats2017.EDITION),
    channels=brats.CHANNELS,
    reference=brats.REFERENCE,
    targets=brats.TARGETS,
    about={
        "description": "BraTS 2016 and 2017 training data; splits never separate the scans of one patient",
        "reference": "https://www.smir.ch/BRATS/Start2016, https://www.med.upenn.edu/sbia/brats2017.html",
        "licence": "as agreed with the organisers; not to be passed on",
    },
    group=group,
    strata=brats.STRATA,
    foreign=brats.FOREIGN,
)
