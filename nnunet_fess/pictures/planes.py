"""Planes through a volume as a radiologist reads them, from the geometry that the file states.

Axial planes are seen from the feet, coronal ones from the front, sagittal ones from the patient's left: the patient's right
is on the picture's left, anterior above or left, superior above. A file that states no geometry is shown as it lies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

# Directions in which the indices of a turned volume grow, axis by axis: its planes then are pictures, row 0 on top.
_TURNED = ("I", "P", "L")
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}
_NAMES = ("axial", "coronal", "sagittal")
_OBLIQUE = 15.0  # degrees off the body's axes from which a plane is called oblique


@dataclass(frozen=True)
class Geometry:
    """How the axes of an array lie in the patient.

    Attributes:
        spacing: mm per axis.
        directions: column k is the direction in which index k grows, in NIfTI's world, whose axes point to the patient's right,
            to the front and to the head (RAS); None if the file does not say.
    """

    spacing: tuple[float, float, float]
    directions: np.ndarray | None = None

    def turn(self, volume: np.ndarray) -> np.ndarray:
        """The volume (three axes) as (superior → inferior, anterior → posterior, right → left)."""
        return volume if self.directions is None else np.asarray(apply_orientation(volume, self._transform))

    @property
    def turned_spacing(self) -> tuple[float, float, float]:
        """Mm per axis of a turned volume."""
        if self.directions is None:
            return self.spacing
        spacing = [0.0, 0.0, 0.0]
        for axis, (target, _) in enumerate(self._transform):
            spacing[int(target)] = self.spacing[axis]
        return spacing[0], spacing[1], spacing[2]

    def turned_axis(self, axis: int) -> int:
        """Which axis of a turned volume was `axis`."""
        return axis if self.directions is None else int(self._transform[axis][0])

    def stored_index(self, axis: int, index: int, size: int) -> int:
        """The index on the stored axis, whose length is `size`, of a plane that has `index` on the turned `axis`."""
        if self.directions is None:
            return index
        flip = next(flip for target, flip in self._transform if int(target) == axis)
        return index if flip > 0 else size - 1 - index

    def name(self, axis: int) -> str:
        """What a plane across an axis of a turned volume is called."""
        if self.directions is None:
            return f"plane across axis {axis}"
        return _NAMES[axis] + (f", {self.obliqueness:.0f}° oblique" if self.obliqueness > _OBLIQUE else "")

    def edges(self, axis: int) -> tuple[str, str, str, str]:
        """What lies at the left, right, upper and lower edge of such a plane; empty if unknown."""
        if self.directions is None:
            return "", "", "", ""
        down, right = (code for other, code in enumerate(_TURNED) if other != axis)
        return _OPPOSITE[right], right, _OPPOSITE[down], down

    @property
    def obliqueness(self) -> float:
        """Largest angle in degrees between an axis of the array and the axis of the body that it stands for."""
        if self.directions is None:
            return 0.0
        largest = np.abs(self.directions).max(0) / np.linalg.norm(self.directions, axis=0)
        return float(np.degrees(np.arccos(np.clip(largest.min(), 0, 1))))

    @property
    def _transform(self) -> np.ndarray:
        affine = np.eye(4)
        affine[:3, :3] = self.directions
        return np.asarray(ornt_transform(io_orientation(affine), axcodes2ornt(_TURNED)))


def geometry_of_case(properties: Mapping[str, Any], transpose: Sequence[int], spacing: Sequence[float]) -> Geometry:
    """The geometry of a case that nnU-Net has preprocessed.

    Args:
        properties: what nnU-Net's reader noted of the file; its readers of NIfTI, NRRD and MetaImage note directions.
        transpose: the plans' ``transpose_forward``.
        spacing: mm per axis of the preprocessed array (three axes).
    """
    itk, nifti = properties.get("sitk_stuff"), properties.get("nibabel_stuff")
    directions = None
    if itk and len(itk["direction"]) == 9:
        directions = np.reshape(itk["direction"], (3, 3)) * np.array([[-1], [-1], [1]])  # ITK's world is LPS
    elif nifti:
        directions = np.asarray(nifti.get("reoriented_affine", nifti["original_affine"]))[:3, :3]
    first, second, third = spacing
    if directions is None or not np.isfinite(directions).all() or np.linalg.matrix_rank(directions) < 3:
        return Geometry((first, second, third))
    return Geometry((first, second, third), directions[:, ::-1][:, list(transpose)])  # nnU-Net's arrays are z, y, x


def geometry_of_image(image: Any) -> Geometry:
    """The geometry of the array of a three-dimensional SimpleITK image."""
    properties = {"sitk_stuff": {"direction": image.GetDirection()}}
    return geometry_of_case(properties, (0, 1, 2), image.GetSpacing()[::-1])


def counts(masks: Mapping[Any, np.ndarray]) -> dict[Any, list[np.ndarray]]:
    """Structure → on each axis, how many of its voxels each plane holds; structures without a voxel are left out."""
    found = {name: [mask.sum(tuple({0, 1, 2} - {axis})) for axis in range(3)] for name, mask in masks.items()}
    return {name: sums for name, sums in found.items() if sums[0].any()}


def choose(areas: Mapping[Any, Sequence[np.ndarray]], shape: Sequence[int], axes: Sequence[int]) -> list[int]:
    """One plane per axis in `axes`, such that as much as possible is seen, and the smallest structure for certain.

    Plane by plane, the one that shows the most structures best: each counts by its share of its own largest area on that axis,
    those that no earlier plane shows three times, and planes on one axis keep apart. If all miss the smallest structure, the
    plane on whose axis its own area is largest is moved there.

    Args:
        areas: see `counts`, of turned volumes.
        shape: theirs.
        axes: of the planes wanted; one may come several times, then the planes differ.

    Returns:
        An index per entry of `axes`; of a volume without structures the middle.
    """
    if not areas:
        places = [(axis, axes[:number].count(axis) + 1, axes.count(axis) + 1) for number, axis in enumerate(axes)]
        return [shape[axis] * part // parts for axis, part, parts in places]
    chosen: list[int] = []
    for axis in axes:
        earlier = list(zip(axes, chosen, strict=False))
        score = np.zeros(shape[axis])
        for sums in areas.values():
            seen = any(sums[other][index] for other, index in earlier)
            score += sums[axis] / sums[axis].max() * (1 if seen else 3)
        taken = [index for other, index in earlier if other == axis]
        filled = np.flatnonzero(score)
        apart = max(1, (filled[-1] - filled[0] + 1) // (2 * axes.count(axis)))
        if len(taken) < shape[axis]:
            for index in taken:
                score[max(0, index - apart + 1) : index + apart] /= 100
                score[index] = -1
        chosen.append(int(score.argmax()))
    smallest = min(areas.values(), key=lambda sums: sums[0].sum())
    if not any(smallest[axis][index] for axis, index in zip(axes, chosen, strict=True)):
        place = max(range(len(axes)), key=lambda place: smallest[axes[place]].max())
        chosen[place] = int(smallest[axes[place]].argmax())
    return chosen
