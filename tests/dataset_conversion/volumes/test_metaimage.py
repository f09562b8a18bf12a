"""Our reader of `.mha` against ITK's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dataset_conversion import volumes
from dataset_conversion.volumes import metaimage
from dataset_conversion.volumes.geometry import affine_of


def image(dtype: type) -> sitk.Image:
    """5×6×7 voxels, turned, with spacing and origin that no axis shares."""
    array = np.random.default_rng(0).integers(0, 100, (7, 6, 5)).astype(dtype)
    result = sitk.GetImageFromArray(array)
    result.SetSpacing((0.7, 1.2, 3.0))
    result.SetOrigin((10.0, -20.0, 33.0))
    angle = np.radians(20)
    result.SetDirection((np.cos(angle), -np.sin(angle), 0, np.sin(angle), np.cos(angle), 0, 0, 0, 1))
    return result


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_voxels_and_type(dtype: type, compressed: bool, tmp_path: Path) -> None:
    expected = image(dtype)
    sitk.WriteImage(expected, str(tmp_path / "a.mha"), compressed)
    _, voxels = metaimage.read((tmp_path / "a.mha").read_bytes())
    assert voxels.dtype == dtype
    assert np.array_equal(voxels.reshape(7, 6, 5), sitk.GetArrayFromImage(expected))


def test_positions(tmp_path: Path) -> None:
    expected = image(np.int16)
    sitk.WriteImage(expected, str(tmp_path / "a.mha"))
    header, _ = metaimage.read((tmp_path / "a.mha").read_bytes())
    for index in [(0, 0, 0), (4, 0, 0), (0, 5, 0), (0, 0, 6), (4, 5, 6)]:
        x, y, z = expected.TransformIndexToPhysicalPoint(index)
        assert np.allclose(affine_of(header) @ [*index, 1], [-x, -y, z, 1], atol=1e-4)


def test_written_as_nifti_itk_reads_the_same_image(tmp_path: Path) -> None:
    expected = image(np.int16)
    sitk.WriteImage(expected, str(tmp_path / "a.mha"), True)
    header, voxels = metaimage.read((tmp_path / "a.mha").read_bytes())
    (tmp_path / "a.nii.gz").write_bytes(volumes.encode(header, voxels))
    found = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(found), sitk.GetArrayFromImage(expected))
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(found, name)(), getattr(expected, name)(), atol=1e-5)


def test_damage_that_itk_reads_without_complaint_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(image(np.int16), str(path), True)
    content = bytearray(path.read_bytes())
    content[-20] ^= 0xFF
    path.write_bytes(content)
    sitk.ReadImage(str(path))
    with pytest.raises(ValueError, match="truncated or damaged"):
        metaimage.read(bytes(content))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"NDims = 3", b"NDims = 2", "one 3-D volume of numbers expected, found NDims 2, 1 values per voxel"),
        (b"MET_SHORT", b"MET_OTHER", "binary numbers expected, found ElementType MET_OTHER"),
        (b"ElementDataFile = LOCAL", b"ElementDataFile = a.raw", r"its voxels lie in another file \(a.raw\)"),
        (b"DimSize = 5 6 7", b"DimSize = 5 6", "DimSize, ElementSpacing, TransformMatrix or Offset has the wrong length"),
        (b"DimSize = 5 6 7", b"DimSize = 5 6 8", "truncated: 420 of 480 bytes of voxels"),
    ],
)
def test_other_headers_are_refused(old: bytes, new: bytes, message: str, tmp_path: Path) -> None:
    sitk.WriteImage(image(np.int16), str(tmp_path / "a.mha"), False)
    content = (tmp_path / "a.mha").read_bytes()
    assert old in content
    with pytest.raises(ValueError, match=message):
        metaimage.read(content.replace(old, new))
