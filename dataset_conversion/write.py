"""Write: one checked case into the folders of an nnU-Net dataset, each file whole or not at all."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib

from dataset_conversion import volumes
from dataset_conversion.check import Checked, CheckedFile, mapped
from dataset_conversion.errors import ConversionError, Problem
from dataset_conversion.facts import LABEL
from dataset_conversion.volumes import geometry
from nnunet_fess.files import whole, write_bytes

TRANSFERS = ("copy", "hardlink", "symlink", "reference")


@dataclass(frozen=True)
class Job:
    """One case to write.

    Attributes:
        checked: what checking it found.
        folder: the dataset folder.
        subset: "Tr" or "Ts".
        channels: roles in channel order.
        label_map: label value in the file → value to write.
        transfer: one of `TRANSFERS`, for images that need no repair.
    """

    checked: Checked
    folder: Path
    subset: str
    channels: Sequence[str]
    label_map: dict[int, int]
    transfer: str

    @property
    def id(self) -> str:
        """nnU-Net case identifier."""
        return self.checked.case.scan.id

    def into(self, folder: Path) -> Job:
        """The same job for another folder."""
        return replace(self, folder=folder)

    def referenced(self, role: str) -> bool:
        """Whether nnU-Net will read the image where it lies; at prediction it cannot."""
        return self.transfer == "reference" and self.subset == "Tr" and self.checked.files[role].untouched


@dataclass(frozen=True)
class Written:
    """Files of one case, relative to the dataset folder, with their sizes; or what went wrong.

    Attributes:
        fatal: it will go wrong for every other case, too.
    """

    sizes: dict[str, int]
    problem: Problem | None = None
    fatal: bool = False


def image_paths(job: Job) -> list[str]:
    """Where nnU-Net finds the channels: relative to the dataset folder, or absolute for a referenced one."""
    return [
        str(job.checked.files[role].source.path)
        if job.referenced(role)
        else f"images{job.subset}/{job.id}_{number:04d}{volumes.ENDING}"
        for number, role in enumerate(job.channels)
    ]


def file_names(job: Job) -> list[str]:
    """The files that `write` makes, relative to the dataset folder."""
    images = [path for path, role in zip(image_paths(job), job.channels, strict=True) if not job.referenced(role)]
    return images + ([f"labels{job.subset}/{job.id}{volumes.ENDING}"] if job.checked.case.labelled else [])


def write(job: Job) -> Written:
    """Write all files of one case; a copy that a killed run has finished is not made again."""
    sizes: dict[str, int] = {}
    roles = [role for role in job.channels if not job.referenced(role)]
    current = ""
    try:
        for name, role in zip(file_names(job), [*roles, LABEL], strict=False):
            file = job.checked.files[role]
            current = file.source.relative
            _refuse_changed(file)
            target = job.folder / name
            if role == LABEL:
                sizes[name] = _replace(target, job.checked.label or _label(job))
            elif file.as_is:
                sizes[name] = _transfer(file, target, job.transfer)
            else:
                volume = volumes.read(file.source.path)
                header = volumes.with_geometry(volume.header, _geometry(job))
                voxels = geometry.flip(volume.voxels, volume.shape, file.flip)
                sizes[name] = _replace(target, volumes.encode(header, voxels))
    except (ConversionError, OSError) as error:
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Written(sizes, Problem(job.id, current, text), fatal=isinstance(error, OSError))
    return Written(sizes)


def _transfer(file: CheckedFile, target: Path, how: str) -> int:
    if how == "copy" and target.exists() and zlib.crc32(target.read_bytes()) == file.crc32:
        return file.size
    target.unlink(missing_ok=True)  # two names of one file are not renamed into one
    with whole(target) as part:
        part.unlink(missing_ok=True)
        if how == "copy":
            shutil.copyfile(file.source.path, part)
        elif how == "hardlink":
            try:
                os.link(file.source.path.resolve(), part)
            except OSError as error:
                raise ConversionError(f"cannot be hard-linked ({error.strerror}); use --transfer copy or symlink") from error
        else:  # a referenced dataset still needs files of the right name in imagesTs
            part.symlink_to(file.source.path)
    return file.size


def _label(job: Job) -> bytes:
    file = job.checked.files[LABEL]
    volume = volumes.read(file.source.path)
    values = geometry.flip(mapped(volume, job.label_map).voxels, volume.shape, file.flip)
    return volumes.encode(volumes.label_header(_geometry(job)), values)


def _geometry(job: Job) -> nib.Nifti1Header:
    return nib.Nifti1Header(job.checked.geometry, check=False)


def _refuse_changed(file: CheckedFile) -> None:
    now = file.source.path.stat()
    if (now.st_size, now.st_mtime_ns) != (file.size, file.modified):
        raise ConversionError("changed while it was being converted; leave SOURCE alone and run again")


def _replace(target: Path, content: bytes) -> int:
    write_bytes(target, content)
    return len(content)
