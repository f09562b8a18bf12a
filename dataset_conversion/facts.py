"""The vocabulary in which a dataset's module states its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

UNKNOWN = "unknown"  # the stratum of a scan whose names tell none
LABEL = "label"  # the role of the reference segmentation; every other role is a channel


@dataclass(frozen=True)
class Scan:
    """One scan, as the names of its files and folders tell it.

    Attributes:
        edition: name of the edition it belongs to.
        id: nnU-Net case identifier. It carries edition and stratum and never ends in four digits, which nnU-Net would
            take for a channel number.
        name: the download's own name.
        patient: the same key in every edition that numbers patients alike.
        stratum: what splits are balanced by, such as grade or modality.
        needs_label: whether it lies where a label must be, so that a missing one is a defect and not a test case.
        ct: whether it is a CT, whose voxels are never cubes of 1 mm by nature.
        maybe: patients who it may be as well, as far as its names tell; it stays with those of them who are there.
    """

    edition: str
    id: str
    name: str
    patient: str
    stratum: str
    needs_label: bool = False
    ct: bool = False
    maybe: tuple[str, ...] = ()


class Strata(NamedTuple):
    """What the strata of a dataset are called in messages.

    Attributes:
        plural: such as "grades".
        missing: what a scan whose names tell none lacks, why that matters and what to do.
    """

    plural: str = "strata"
    missing: str = "its stratum is not known, which tells whose other scans it must stay with"


STRATA = Strata()


class Numbers(NamedTuple):
    """Numbers by which a challenge knows its files.

    Attributes:
        key: their name in `original_names.json`.
        pattern: finds the number in a file name, as its only group.
    """

    key: str
    pattern: str


def own_name(entry: Mapping[str, Any], text: str) -> str:
    """The download's own name for a case of `original_names.json`: what most challenges want a prediction to be called."""
    return f"{entry['name']}.nii.gz"


class Foreign(NamedTuple):
    """Files of another dataset that people take for this one.

    Attributes:
        pattern: finds the file, by its path from the SOURCE folder's name on.
        is_: what it is and what to do; completes "… is" and "…: it holds".
        refused: it may not even lie beside this dataset's files.
    """

    pattern: str
    is_: str
    refused: bool = False


@dataclass(frozen=True)
class Edition:
    """One download: how its files are named and what its label values mean.

    Attributes:
        name: as in `Scan.edition`.
        title: for messages.
        match: path → (scan, role), or None for a file without a role. The path begins with the name of the SOURCE
            folder itself, which may be the stratum's.
        example: what `match` recognises, for people: the path of an image and how the other files differ from it.
        labels: label value in the download → harmonised class. Where several values become one class, the first
            one stands for it on the way back.
        expected: stratum → number of labelled scans of the complete download; another is only worth a warning.
        in_parts: the download comes in parts, so that an image without mask is a test case and a mask without image
            is left out. Otherwise a folder that holds one labelled case must hold only labelled ones.
        numbers: the challenge's numbers in file names, or None.
        upload: (case in `original_names.json`, the user's text) → name of a prediction's file for the challenge.
    """

    name: str
    title: str
    match: Callable[[PurePath], tuple[Scan, str] | None]
    example: str
    labels: Mapping[int, int]
    expected: Mapping[str, int]
    in_parts: bool = False
    numbers: Numbers | None = None
    upload: Callable[[Mapping[str, Any], str], str] = own_name


@dataclass(frozen=True)
class Target:
    """What nnU-Net learns: `dataset.json` labels, and harmonised class → written value."""

    labels: Mapping[str, int | list[int]]
    collapse: Mapping[int, int]
    regions_class_order: list[int] | None = None


@dataclass(frozen=True)
class Dataset:
    """One nnU-Net dataset that a converter can make.

    Attributes:
        name: on the command line.
        title: `DatasetXXX_<title>`.
        default_id: XXX.
        editions: the downloads it is made of.
        channels: role → nnU-Net channel name, in the default order. The name decides the normalisation ("CT").
        reference: the role whose geometry the others and the label receive, if it is among the chosen channels.
        targets: name → `Target`; the first is the default.
        group: the unit that no split may separate; the patient, unless patients cannot be told apart.
        reader: nnU-Net's reader, where its own choice is wrong.
        about: description, reference and licence for `dataset.json`.
        strata: what its strata are called.
        foreign: what is mistaken for this dataset.
    """

    name: str
    title: str
    default_id: int
    editions: tuple[Edition, ...]
    channels: Mapping[str, str]
    reference: str
    targets: Mapping[str, Target]
    about: Mapping[str, str]
    group: Callable[[Scan], str] = field(default=lambda scan: scan.patient)
    reader: str | None = None
    strata: Strata = STRATA
    foreign: tuple[Foreign, ...] = ()

    def edition(self, name: str) -> Edition:
        """The edition of that name."""
        return next(edition for edition in self.editions if edition.name == name)

    def label_maps(self, target: str) -> dict[str, dict[int, int]]:
        """Edition → label value in its files → value to write."""
        collapse = self.targets[target].collapse
        return {
            edition.name: {value: collapse[harmonised] for value, harmonised in edition.labels.items()}
            for edition in self.editions
        }
