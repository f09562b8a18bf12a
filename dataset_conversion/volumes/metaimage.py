"""Reading `.mha`.

ITK reads a damaged `.mha` without complaint: where the compressed stream is broken it prints a line and returns the
voxels it has. So the stream is inflated here, where a wrong byte is an error.
"""

from __future__ import annotations

import zlib

import nibabel as nib
import numpy as np

TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read(content: bytes) -> tuple[nib.Nifti1Header, np.ndarray]:
    """The content of a 3-D `.mha` file as NIfTI geometry and voxels.

    Args:
        content: the whole file.

    Returns:
        A header with shape, dtype and affine; the voxels in file order (x fastest), shape (number of voxels,).

    Raises:
        ValueError: not such a file, truncated or damaged.
    """
    fields: dict[str, str] = {}
    start = 0
    while fields.get("ElementDataFile") is None:
        end = content.find(b"\n", start)
        if end < 0 or end - start > 4096:
            raise ValueError("not a MetaImage header")
        key, equals, value = content[start:end].decode("latin-1").partition("=")
        if not equals:
            raise ValueError("not a MetaImage header")
        fields[key.strip()] = value.strip()
        start = end + 1

    def numbers(*keys: str) -> list[float]:
        return [float(number) for key in keys if key in fields for number in fields[key].split()]

    if fields["ElementDataFile"] != "LOCAL":
        raise ValueError(f"its voxels lie in another file ({fields['ElementDataFile']}); one file expected")
    if fields.get("NDims") != "3" or fields.get("ElementNumberOfChannels", "1") != "1":
        found = f"NDims {fields.get('NDims')}, {fields.get('ElementNumberOfChannels', '1')} values per voxel"
        raise ValueError(f"one 3-D volume of numbers expected, found {found}")
    if fields.get("ElementType") not in TYPES or fields.get("BinaryData", "True").lower() != "true":
        raise ValueError(f"binary numbers expected, found ElementType {fields.get('ElementType')}")
    big = (fields.get("BinaryDataByteOrderMSB") or fields.get("ElementByteOrderMSB") or "False").lower() == "true"
    dtype = np.dtype(TYPES[fields["ElementType"]]).newbyteorder(">" if big else "<")
    shape = [int(number) for number in numbers("DimSize")]
    spacing = numbers("ElementSpacing") or [1.0, 1.0, 1.0]
    matrix = numbers("TransformMatrix", "Rotation", "Orientation")[:9] or list(np.eye(3).flat)
    offset = numbers("Offset", "Position", "Origin")[:3] or [0.0, 0.0, 0.0]
    if len(shape) != 3 or len(spacing) != 3 or len(matrix) != 9 or len(offset) != 3:
        raise ValueError("DimSize, ElementSpacing, TransformMatrix or Offset has the wrong length")
    size = int(np.prod(shape)) * dtype.itemsize
    data = content[start:]
    if fields.get("CompressedData", "False").lower() == "true":
        try:
            data = zlib.decompress(data, bufsize=size)
        except zlib.error as error:
            raise ValueError(f"truncated or damaged ({error})") from error
    if len(data) < size:
        raise ValueError(f"truncated: {len(data)} of {size} bytes of voxels")

    affine = np.eye(4)
    affine[:3, :3] = np.reshape(matrix, (3, 3)).T * spacing  # MetaImage writes the axes one after another
    affine[:3, 3] = offset
    affine = LPS_TO_RAS @ affine
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype.newbyteorder("="))
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_zooms(spacing)
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    return header, np.frombuffer(data, dtype, size // dtype.itemsize)
