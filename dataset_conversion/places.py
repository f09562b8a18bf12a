"""What can be refused before anything is read: folders that are not there, not writable, not apart, or taken."""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dataset_conversion.errors import ConversionError
from nnunet_fess.folders import expanded, folder, refuse_overlap


def raw_to_write(given: str | None) -> Path:
    """nnU-Net's raw folder for writing: the environment's must be there; a given one may be new if its parent is there.

    Raises:
        UserError: it is neither; a typo is not created.
    """
    if not (given or os.environ.get("nnUNet_raw")):
        raise ConversionError("where is nnU-Net's raw folder? Set the environment variable nnUNet_raw or give --raw DIR")
    raw = folder("nnUNet_raw", given)
    if raw.is_dir() or (given and raw.absolute().parent.is_dir()):
        return raw
    name = "--raw" if given else "nnUNet_raw"
    here = raw.absolute().parent
    names = [path.name for path in here.iterdir() if path.is_dir()] if here.is_dir() else []
    alike = difflib.get_close_matches(raw.name, names, 1)
    meant = f" {here / alike[0]} does: was that meant?" if alike else ""
    raise ConversionError(
        f"{name} is {raw}, which does not exist.{meant} If it is right, make it:  mkdir -p {shlex.quote(str(raw))}"
    )


def refuse_target(target: Path, roots: Sequence[Path], dataset_id: int, overwrite: bool) -> None:
    """Refuse a dataset folder that cannot be written, or would hit something that is not ours.

    Args:
        target: the dataset's folder, in nnU-Net's raw folder.
        roots: SOURCE folders.
        dataset_id: its number.
        overwrite: it may be there, and will be replaced.

    Raises:
        UserError: what is wrong with it.
    """
    refuse_overlap(target.parent)
    for root in roots:
        if target.is_relative_to(root):
            raise ConversionError(f"the dataset would be written to {target}, inside SOURCE {root}; choose another --raw")
        if root.is_relative_to(target):
            raise ConversionError(f"SOURCE {root} lies in the dataset folder {target}, which is replaced; move it elsewhere")
    others = (os.environ.get(name) for name in ("nnUNet_preprocessed", "nnUNet_results"))
    for place in (target.parent, *(expanded(other) for other in others if other)):
        for other in sorted(place.glob(f"Dataset{dataset_id:03d}_*")):
            if other.name != target.name:
                raise ConversionError(f"dataset id {dataset_id} is taken by {other}; choose another one with -d")
    if target.exists() and not target.is_dir():
        raise ConversionError(f"{target} exists and is no folder; move it away")
    if overwrite or not target.exists():
        refuse_unwritable(target.parent)


def refuse_unwritable(place: Path) -> None:
    """Refuse a folder, or the nearest one above it that is there, in which no folder can be made.

    Raises:
        ConversionError: with the system's reason.
    """
    place = existing(place)
    try:
        with tempfile.TemporaryDirectory(prefix=".nnunet_fess-", dir=place):
            pass
    except OSError as error:
        raise ConversionError(
            f"nothing can be written in {place}: {error.strerror}. Change its permissions, or choose another folder"
        ) from error


def refuse_full_disk(target: Path, needed: int) -> None:
    """Refuse before writing what cannot fit: `needed` bytes."""
    place = existing(target)
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ConversionError(
            f"about {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free on the disk of {place}; make room, "
            "or use --transfer symlink or reference"
        )


def existing(place: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    while not place.exists():
        place = place.parent
    return place
