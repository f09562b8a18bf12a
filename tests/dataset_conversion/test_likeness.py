"""An image is known again by what every way of storing it keeps, and by nothing less than all of its values."""

from __future__ import annotations

from pathlib import Path

import downloads
import nibabel as nib
import numpy as np
import pytest

from dataset_conversion.likeness import content, mark
from dataset_conversion.volumes import read

IMAGE = downloads.brain(1).images[0]


def of(path: Path) -> tuple[str, str]:
    volume = read(path)
    return mark(volume), content(volume)


@pytest.fixture
def original(tmp_path: Path) -> tuple[str, str]:
    downloads.save(IMAGE, tmp_path / "original.nii.gz")
    return of(tmp_path / "original.nii.gz")


def test_in_another_format(original, tmp_path: Path) -> None:
    downloads.save_mha(IMAGE, tmp_path / "copy.mha")
    assert of(tmp_path / "copy.mha") == original


@pytest.mark.parametrize(
    "voxels",
    [
        IMAGE.astype(np.float64),
        np.pad(IMAGE, 3),
        IMAGE[tuple(slice(axis.min(), axis.max() + 1) for axis in np.nonzero(IMAGE))],
    ],
    ids=["float", "padded", "cropped"],
)
def test_as_other_programs_write_it(original, voxels: np.ndarray, tmp_path: Path) -> None:
    downloads.save(voxels, tmp_path / "copy.nii.gz")
    assert of(tmp_path / "copy.nii.gz") == original


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PIR", "SAL"])
def test_with_its_axes_stored_otherwise(original, axes: str, tmp_path: Path) -> None:
    image = nib.Nifti1Image(IMAGE, downloads.AFFINE)
    wanted = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes))
    nib.save(image.as_reoriented(wanted), tmp_path / "copy.nii.gz")
    assert of(tmp_path / "copy.nii.gz") == original


def test_a_mirrored_patient_is_another_image(original, tmp_path: Path) -> None:
    downloads.save(IMAGE[::-1], tmp_path / "copy.nii.gz")
    assert of(tmp_path / "copy.nii.gz")[0] == original[0]
    assert of(tmp_path / "copy.nii.gz")[1] != original[1]


def test_with_a_scaling_in_its_header(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    image = nib.Nifti1Image(IMAGE.astype(np.int16), downloads.AFFINE, header)
    image.header.set_slope_inter(0.1, 3)
    nib.save(image, tmp_path / "scaled.nii.gz")
    stored = read(tmp_path / "scaled.nii.gz")
    downloads.save((stored.voxels.reshape(stored.shape, order="F") * 0.1 + 3).astype(np.float32), tmp_path / "float.nii.gz")
    assert stored.scaling == pytest.approx((0.1, 3))
    assert of(tmp_path / "scaled.nii.gz")[1] == of(tmp_path / "float.nii.gz")[1]


@pytest.mark.parametrize("position", [(-1, -1, -1), (20, 20, 20)])
def test_one_other_voxel_is_another_image(original, position: tuple[int, int, int], tmp_path: Path) -> None:
    voxels = IMAGE.copy()
    voxels[position] += 1
    downloads.save(voxels, tmp_path / "other.nii.gz")
    assert of(tmp_path / "other.nii.gz")[1] != original[1]


def test_another_patient(original, tmp_path: Path) -> None:
    downloads.save(downloads.brain(2).images[0], tmp_path / "other.nii.gz")
    assert of(tmp_path / "other.nii.gz")[0] != original[0]
