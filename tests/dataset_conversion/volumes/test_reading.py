"""Files as they are: bytes in, voxels and header out."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dataset_conversion import volumes
from dataset_conversion.errors import ConversionError
from dataset_conversion.volumes.geometry import repaired

VOXELS = np.random.default_rng(0).integers(-5, 900, (7, 8, 9)).astype(np.int16)


def content() -> bytes:
    return nib.Nifti1Image(VOXELS, np.diag([1.0, 2.0, 3.0, 1.0])).to_bytes()


def read(tmp_path: Path, data: bytes, name: str = "a.nii.gz") -> volumes.Volume:
    (tmp_path / name).write_bytes(data)
    return volumes.read(tmp_path / name)


@pytest.mark.parametrize("members", [1, 2, 5])
def test_gzip_of_several_members(members: int, tmp_path: Path) -> None:
    data = content()
    step = -(-len(data) // members)
    packed = b"".join(gzip.compress(data[start : start + step]) for start in range(0, len(data), step))
    assert np.array_equal(read(tmp_path, packed).voxels, VOXELS.ravel(order="F"))


def test_members_of_one_size(tmp_path: Path) -> None:
    data = content()
    data += bytes(len(data) % 2)
    half = len(data) // 2
    packed = gzip.compress(data[:half]) + gzip.compress(data[half:])
    assert np.array_equal(read(tmp_path, packed).voxels, VOXELS.ravel(order="F"))


def test_header_extension_is_skipped(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"who was here"))
    assert np.array_equal(read(tmp_path, gzip.compress(image.to_bytes())).voxels, VOXELS.ravel(order="F"))


@pytest.mark.parametrize(
    ("name", "packed", "form"),
    [("a.nii.gz", True, ".nii.gz"), ("a.nii", False, ".nii"), ("a.nii", True, None), ("a.nii.gz", False, None)],
)
def test_format_is_told_by_content_and_name(name: str, packed: bool, form: str | None, tmp_path: Path) -> None:
    data = gzip.compress(content()) if packed else content()
    assert read(tmp_path, data, name).format == form


def test_encoded_file_is_read_by_nibabel_and_always_the_same(tmp_path: Path) -> None:
    volume = read(tmp_path, gzip.compress(content()))
    encoded = volumes.encode(volume.header, volume.voxels)
    assert encoded == volumes.encode(volume.header, volume.voxels)
    (tmp_path / "b.nii.gz").write_bytes(encoded)
    image = nib.load(tmp_path / "b.nii.gz")
    assert np.array_equal(np.asarray(image.dataobj), VOXELS)
    assert np.array_equal(image.affine, np.diag([1, 2, 3, 1]))


@pytest.mark.parametrize("cut", [1, 4, 8, 100])
def test_truncated_anywhere(cut: int, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="truncated or damaged gzip"):
        read(tmp_path, gzip.compress(content())[:-cut])


@pytest.mark.parametrize("where", range(0, 40, 4))
def test_damaged_header_is_no_traceback(where: int, tmp_path: Path) -> None:
    data = bytearray(content())
    data[where : where + 4] = b"\xff\x7f\xff\x7f"
    try:
        volume = read(tmp_path, gzip.compress(bytes(data)))
    except ConversionError:
        return
    assert np.array_equal(volume.voxels, VOXELS.ravel(order="F"))


@pytest.mark.parametrize("where", range(40, 348, 4))
def test_damaged_geometry_is_no_traceback(where: int, tmp_path: Path) -> None:
    data = bytearray(content())
    data[where : where + 4] = b"\xff\xff\xff\xff"  # NaN, -1
    try:
        volume = read(tmp_path, gzip.compress(bytes(data)))
        repaired(volume.header)
        assert volume.scaling is not None
    except ConversionError:
        pass


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="cannot be read: No such file or directory"):
        volumes.read(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_scaling_and_position_survive_a_change_of_header(kind: type, tmp_path: Path) -> None:
    image = kind(VOXELS[..., None], np.diag([1.0, 2.0, 3.0, 1.0]))
    data = bytearray(image.to_bytes())
    slope = (112, np.float32) if kind is nib.Nifti1Image else (176, np.float64)
    value = np.array([0.5, 10], slope[1]).tobytes()
    data[slope[0] : slope[0] + len(value)] = value
    volume = read(tmp_path, gzip.compress(bytes(data)))
    assert volume.scaling == (0.5, 10)
    (tmp_path / "b.nii.gz").write_bytes(volumes.encode(volume.header, volume.voxels))
    found = nib.load(tmp_path / "b.nii.gz")
    assert np.array_equal(found.get_fdata(), VOXELS * 0.5 + 10)
    assert np.array_equal(found.affine, np.diag([1, 2, 3, 1]))
