"""Write: one checked case into the folders of an nnU-Net dataset, each file whole or not at all."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib

from dataset_conversion import geometry, volumes
from dataset_conversion.check import Checked, CheckedFile, mapped
from dataset_conversion.errors import ConversionError
from dataset_conversion.facts import LABEL


@dataclass(frozen=True)
class Job:
    """One case to write: `subset` is "Tr" or "Ts"."""

    checked: Checked
    folder: Path
    subset: str
    channels: Sequence[str]
    label_map: dict[int, int]


@dataclass(frozen=True)
class Written:
    """Files of one case, relative to the dataset folder, with their sizes; or what went wrong."""

    id: str
    sizes: dict[str, int]
    error: str | None = None
    fatal: bool = False


def write(job: Job) -> Written:
    """Write all files of one case; what a killed run has finished is not written again."""
    checked, sizes = job.checked, {}
    id = checked.case.scan.id
    current = checked.files[job.channels[0]].source
    try:
        for number, role in enumerate(job.channels):
            current = checked.files[role].source
            name = f"images{job.subset}/{id}_{number:04d}{volumes.ENDING}"
            sizes[name] = _write_image(checked, role, job.folder / name)
        if checked.case.labelled:
            current = checked.files[LABEL].source
            name = f"labels{job.subset}/{id}{volumes.ENDING}"
            sizes[name] = _replace(job.folder / name, checked.label or _label(checked, job.label_map))
    except ConversionError as error:
        return Written(id, sizes, f"{current.relative}: {error}")
    except OSError as error:
        # a full disk stays full for the next case
        return Written(id, sizes, f"{current.relative}: {error.strerror or error}", fatal=True)
    return Written(id, sizes)


def _write_image(checked: Checked, role: str, target: Path) -> int:
    file = checked.files[role]
    if file.as_is:
        _unchanged(file)
        if target.exists() and zlib.crc32(target.read_bytes()) == file.crc32:
            return file.size
        part = target.with_name(f".{target.name}.part")
        shutil.copyfile(file.source.path, part)
        part.replace(target)
        return file.size
    _unchanged(file)
    volume = volumes.read(file.source.path)
    header = volumes.with_geometry(volume.header, _geometry(checked))
    return _replace(target, volumes.encode(header, geometry.flip(volume.voxels, volume.shape, file.flip)))


def _label(checked: Checked, label_map: dict[int, int]) -> bytes:
    file = checked.files[LABEL]
    _unchanged(file)
    volume = volumes.read(file.source.path)
    values = geometry.flip(mapped(volume, label_map), volume.shape, file.flip)
    return volumes.encode(volumes.label_header(_geometry(checked)), values)


def _geometry(checked: Checked) -> nib.Nifti1Header:
    return nib.Nifti1Header(checked.geometry, check=False)


def _unchanged(file: CheckedFile) -> None:
    now = file.source.path.stat()
    if (now.st_size, now.st_mtime_ns) != (file.size, file.modified):
        raise ConversionError("changed while it was being converted; leave SOURCE alone and run again")


def _replace(target: Path, content: bytes) -> int:
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    part.replace(target)
    return len(content)
