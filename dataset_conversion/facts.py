"""The vocabulary in which a dataset's module states its facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import NamedTuple

UNKNOWN = "unknown"  # the stratum of a scan whose names tell none
LABEL = "label"  # the role of the reference segmentation; every other role is a channel


@dataclass(frozen=True)
class Scan:
    """One scan, as the names of its files and folders tell it.

    Attributes:
        edition: name of the edition it belongs to.
        id: nnU-Net case identifier. It carries edition and grade and never ends in four digits, which nnU-Net would
            take for a channel number.
        name: the download's own name.
        patient: the same key in every edition that numbers patients alike.
        stratum: what splits are balanced by: grade, or modality ("CT" has no spacing of 1 mm by nature).
        needs_label: whether it lies where a label must be, so that a missing one is a defect and not a test case.
        maybe: patients who it may be as well, as far as its names tell; it stays with those of them who are there.
    """

    edition: str
    id: str
    name: str
    patient: str
    stratum: str
    needs_label: bool = False
    maybe: tuple[str, ...] = ()


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
            folder itself, which may be the grade's.
        example: what `match` recognises, for people: the path of an image and how the other files differ from it.
        labels: label value in the download → harmonised class. Where several values become one class, the first
            one stands for it on the way back.
        expected: stratum → number of labelled scans of the complete download; another is only worth a warning.
        in_parts: the download comes in parts, so that an image without mask is a test case and a mask without image
            is left out. Otherwise a folder that holds one labelled case must hold only labelled ones.
        vsd: pattern with one group that finds the VSD id in a file name, or None.
    """

    name: str
    title: str
    match: Callable[[PurePath], tuple[Scan, str] | None]
    example: str
    labels: Mapping[int, int]
    expected: Mapping[str, int]
    in_parts: bool = False
    vsd: str | None = None


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
    foreign: tuple[Foreign, ...] = ()
