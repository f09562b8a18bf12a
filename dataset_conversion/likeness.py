"""What an image keeps whatever it is stored as: another format or data type, turned, mirrored, cropped to what is not empty."""

from __future__ import annotations

import hashlib

import numpy as np

from dataset_conversion import volumes


def mark(volume: volumes.Volume) -> str:
    """Cheap, and the same for the same image; so may be that of another, which `content` tells apart."""
    voxels = volume.voxels
    low, high = voxels.min(), voxels.max()
    return f"{np.count_nonzero(voxels != low)} {_values(volume, np.array([low, high])).tolist()}"


def content(volume: volumes.Volume) -> str:
    """A hash of all values that are not the lowest one, in ascending order: two images do not have the same by chance."""
    values = _values(volume, volume.voxels[volume.voxels != volume.voxels.min()])
    values.sort()
    return hashlib.sha256(values.data).hexdigest()[:32]


def _values(volume: volumes.Volume, stored: np.ndarray) -> np.ndarray:
    """As a program that writes float32 would have stored them."""
    slope, intercept = volume.scaling
    return np.asarray(stored * slope + intercept, np.float32)
