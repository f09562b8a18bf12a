"""What an image keeps whatever it is stored as: another format or data type, turned axes, cropped to what is not empty.

A mirrored patient is another image: it has its heart on the other side.
"""

from __future__ import annotations

import hashlib

import nibabel as nib
import numpy as np

from dataset_conversion import volumes
from dataset_conversion.volumes.geometry import affine_of


def mark(volume: volumes.Volume) -> str:
    """Cheap, and the same for the same image; so may be that of another, which `content` tells apart."""
    voxels = volume.voxels
    low, high = voxels.min(), voxels.max()
    return f"{np.count_nonzero(voxels != low)} {_values(volume, np.array([low, high])).tolist()}"


def content(volume: volumes.Volume) -> str:
    """A hash of the box around all values that are not the lowest one, along the patient's axes as the header states them."""
    array = volume.voxels.reshape(volume.shape, order="F")
    affine = affine_of(volume.header)
    orientation = None if affine is None or not np.isfinite(affine).all() else nib.io_orientation(affine)
    if orientation is not None and not np.isnan(orientation).any():
        array = nib.orientations.apply_orientation(array, orientation)
    filled = array != array.min()
    if filled.any():
        ends = [np.flatnonzero(filled.any(tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in range(3)]
        array = array[tuple(slice(first, last + 1) for first, last in ends)]
    box = np.ascontiguousarray(_values(volume, array))
    return hashlib.sha256(f"{box.shape}".encode() + box.tobytes()).hexdigest()[:32]


def _values(volume: volumes.Volume, stored: np.ndarray) -> np.ndarray:
    """As a program that writes float32 would have stored them."""
    slope, intercept = volume.scaling
    return np.asarray(stored * slope + intercept, np.float32)
