"""One volume: its bytes, its voxels in file order, and its header. NaN are still there, which ITK would read as 0."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import deflate
import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from dataset_conversion.errors import ConversionError
from dataset_conversion.volumes import metaimage

GZIP = b"\x1f\x8b"
ENDING = ".nii.gz"
LARGEST_RATIO = 1032  # of deflate
GEOMETRY = (
    *("xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


@dataclass
class Volume:
    """A file that was read.

    Attributes:
        header: NIfTI-1 header; for `.mha` with the same physical positions.
        voxels: shape (number of voxels,), x fastest, as stored (before any scaling).
        format: the ending under which nnU-Net can read the file as it is; None if it has none, or wears another.
        size: bytes of the file.
        crc32: of the file's bytes.
    """

    header: nib.Nifti1Header
    voxels: np.ndarray
    format: str | None
    size: int
    crc32: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along x, y, z."""
        return tuple(self.header.get_data_shape())

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept; (1, 0) where the header has none."""
        slope, intercept = self.header.get_slope_inter()
        return (1.0 if slope is None else slope), (0.0 if intercept is None else intercept)


def read(path: Path) -> Volume:
    """Read a `.nii`, `.nii.gz` or `.mha` file; what it is is told by its content, as mirrors rename files.

    Raises:
        ConversionError: unreadable, truncated, damaged, not 3-D or not numbers.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConversionError(f"cannot be read: {error.strerror}") from error
    if not content:
        raise ConversionError("is empty (0 bytes); fetch it again")
    compressed, is_mha = content.startswith(GZIP), content.startswith((b"ObjectType", b"NDims", b"Comment"))
    try:
        if is_mha:
            header, voxels = metaimage.read(content)
        else:
            header, voxels = _read_compressed(content) if compressed else _read_nifti(content)
        shape = header.get_data_shape()
        usual = not isinstance(header, nib.Nifti2Header) and not (len(shape) > 3 and set(shape[3:]) == {1})
        header = header if usual else _as_nifti1(header, shape[:3])
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ConversionError(f"truncated or damaged gzip ({error}); fetch it again") from error
    except (ValueError, OverflowError, KeyError, HeaderDataError, WrapStructError) as error:
        raise ConversionError(f"{error}; fetch it again or repair it") from error
    form: str | None = ".mha" if is_mha else ENDING if compressed else ".nii"
    if not usual or not path.name.lower().endswith(str(form)):
        form = None
    if len(header.get_data_shape()) != 3:
        raise ConversionError(f"3-D volume expected, found shape {tuple(shape)}; one file per channel")
    if voxels.dtype.kind not in "iuf" or voxels.dtype.itemsize > 8:
        raise ConversionError(f"numbers of 1 to 8 bytes expected, found {voxels.dtype}")
    return Volume(header, voxels, form, len(content), isal_zlib.crc32(content))


def _read_compressed(content: bytes) -> tuple[nib.Nifti1Header, np.ndarray]:
    """Header and voxels of a `.nii.gz`. libdeflate takes a quarter of zlib's time."""
    size = int.from_bytes(content[-4:], "little")
    if size <= LARGEST_RATIO * len(content):  # else the last bytes are no size, and would have us allocate 4 GB
        try:
            return _read_nifti(deflate.gzip_decompress(content, size))
        except (deflate.DeflateError, ValueError, OverflowError):
            pass  # several members, which the standard library reads, or a defect, which it names
    return _read_nifti(gzip.decompress(content))


def _read_nifti(content: bytes | bytearray) -> tuple[nib.Nifti1Header, np.ndarray]:
    """Header and voxels of an uncompressed single-file NIfTI."""
    kind = nib.Nifti2Header if content[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c") else nib.Nifti1Header
    magic = content[344:347] if kind is nib.Nifti1Header else content[4:7]
    if len(content) < kind.sizeof_hdr or magic != b"n+" + (b"1" if kind is nib.Nifti1Header else b"2"):
        raise ValueError("not a NIfTI file")
    # unchecked: nibabel's check would turn a spacing of 0 into 1 mm without a word
    header = kind.from_fileobj(io.BytesIO(content[: kind.sizeof_hdr]), check=False)
    try:
        dtype = header.get_data_dtype()
    except KeyError as error:
        raise ValueError(f"damaged NIfTI header (data type {error})") from error
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1  # the standard: 0 means 1
    header.get_qform()  # both raise if they make no sense
    header.get_slope_inter()
    if not 1 <= header["dim"][0] <= 7 or min(header.get_data_shape()) < 1:
        raise ValueError(f"damaged NIfTI header (dimensions {header['dim'].tolist()})")
    count, offset = math.prod(header.get_data_shape()), int(header["vox_offset"])
    if offset < kind.sizeof_hdr:
        raise ValueError(f"damaged NIfTI header (voxels start at byte {offset})")
    if len(content) < offset + count * dtype.itemsize:
        raise ValueError(f"truncated: {len(content) - offset} of {count * dtype.itemsize} bytes of voxels")
    return header, np.frombuffer(content, dtype, count, offset)


def _as_nifti1(header: nib.Nifti1Header, shape: tuple[int, ...]) -> nib.Nifti1Header:
    """What the header says about one 3-D volume, as NIfTI-1."""
    result = nib.Nifti1Header()
    result.set_data_dtype(header.get_data_dtype())
    result.set_data_shape(shape)
    result.set_slope_inter(*header.get_slope_inter())
    return with_geometry(result, header)


def same_geometry(one: nib.Nifti1Header, other: nib.Nifti1Header) -> bool:
    """Whether no reader can see a difference between the geometries."""
    return bool((one["pixdim"][:4] == other["pixdim"][:4]).all() and all((one[name] == other[name]).all() for name in GEOMETRY))


def with_geometry(header: nib.Nifti1Header, reference: nib.Nifti1Header) -> nib.Nifti1Header:
    """A copy of `header` (dtype, scaling, description) that has the position and spacing of `reference`."""
    header = nib.Nifti1Header.from_header(header, check=False)
    header["pixdim"][:4] = reference["pixdim"][:4]
    for name in GEOMETRY:
        header[name] = reference[name]
    return header


def label_header(reference: nib.Nifti1Header) -> nib.Nifti1Header:
    """Header of a uint8 label on the grid of `reference`."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(reference.get_data_shape())
    header.set_slope_inter(1, 0)
    return with_geometry(header, reference)


def encode(header: nib.Nifti1Header, voxels: np.ndarray) -> bytes:
    """A `.nii.gz` file; the same input gives the same bytes."""
    header = header.copy()
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    stored = np.ascontiguousarray(voxels, header.get_data_dtype())
    # isal: a label in a twentieth of zlib's time
    return igzip.compress(b"".join([header.binaryblock, bytes(4), stored.data.cast("B")]), 2, mtime=0)
