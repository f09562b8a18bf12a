"""Volumes: their bytes, voxels and headers (`reading`), the `.mha` format (`metaimage`), where voxels lie (`geometry`)."""

from dataset_conversion.volumes.reading import (
    ENDING,
    Volume,
    encode,
    label_header,
    read,
    same_geometry,
    with_geometry,
)

__all__ = ["ENDING", "Volume", "encode", "label_header", "read", "same_geometry", "with_geometry"]
