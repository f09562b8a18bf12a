"""Repairs of a header leave the positions of voxels where they were; comparisons see what matters."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from dataset_conversion.errors import ConversionError
from dataset_conversion.volumes import geometry

SHAPE = (20, 30, 40)
angles = st.floats(-180, 180)
spacings = st.tuples(*[st.floats(0.3, 8)] * 3)


def header_of(affine: np.ndarray) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0))
    header.set_sform(affine, 1)
    return header


def affine_with(spacing: tuple[float, ...], turn: tuple[float, ...] = (0, 0, 0), shear: float = 0.0) -> np.ndarray:
    """Axes turned by Euler angles (degrees), the second one tilted by `shear` towards the first."""
    axes = np.eye(3)
    axes[0, 1] = shear
    axes = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ axes / np.linalg.norm(axes, axis=0)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = (-90, 126, -72)
    return affine


@settings(deadline=None, max_examples=50)
@given(spacings, st.tuples(angles, angles, angles))
def test_orthonormal_axes_are_left_alone(spacing: tuple[float, ...], turn: tuple[float, ...]) -> None:
    header = header_of(affine_with(spacing, turn))
    repaired, changes = geometry.repaired(header)
    assert not changes
    assert repaired.binaryblock == header.binaryblock


@settings(deadline=None, max_examples=50)
@given(spacings, st.tuples(angles, angles, angles), st.floats(1e-4, 9e-3))
def test_repair_of_sheared_axes(spacing: tuple[float, ...], turn: tuple[float, ...], shear: float) -> None:
    affine = affine_with(spacing, turn, shear)
    repaired, changes = geometry.repaired(header_of(affine))
    after = geometry.affine_of(repaired)
    assert after is not None and changes
    assert geometry.shear_of(after) < 1e-6
    assert np.allclose(np.linalg.norm(after[:3, :3], axis=0), spacing, rtol=1e-5)
    corners = np.array([[x, y, z, 1] for x in (0, 19) for y in (0, 29) for z in (0, 39)]).T
    moved = np.abs(affine @ corners - after @ corners).max()
    assert moved <= shear * np.linalg.norm(np.multiply(SHAPE, spacing)) + 1e-3


def test_repaired_axes_are_the_nearest_orthonormal_ones() -> None:
    affine = affine_with((1, 1, 1), (10, 20, 30), 8e-3)
    best = np.linalg.norm(geometry.orthonormal(affine)[:3, :3] - affine[:3, :3])
    rng = np.random.default_rng(0)
    for _ in range(200):
        near = Rotation.from_rotvec(rng.normal(scale=1e-3, size=3)).as_matrix() @ geometry.orthonormal(affine)[:3, :3]
        assert np.linalg.norm(near - affine[:3, :3]) >= best


def test_too_much_shear_is_refused() -> None:
    with pytest.raises(ConversionError, match=r"its axes are not at right angles \(cosine 0.011 > 0.01\); resample it"):
        geometry.repaired(header_of(affine_with((1, 1, 1), shear=0.011)))


def test_no_position_is_no_defect() -> None:
    header = nib.Nifti1Header()
    header.set_data_shape(SHAPE)
    assert geometry.repaired(header) == (header, [])


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_flipped_axes_are_seen(axes: tuple[int, ...]) -> None:
    affine = affine_with((0.7, 0.8, 5), (5, 0, 30))
    flip = np.diag([*(-1 if axis in axes else 1 for axis in range(3)), 1])
    _, found = geometry.difference(header_of(affine @ flip), header_of(affine))
    assert found == axes


def test_shift_is_told_in_mm() -> None:
    affine = affine_with((1, 1, 1))
    moved = affine.copy()
    moved[1, 3] += 239
    assert geometry.difference(header_of(moved), header_of(affine)) == ("origin was off by 239 mm", ())


def test_equal_geometries_do_not_differ() -> None:
    header = header_of(affine_with((1, 2, 3), (4, 5, 6)))
    assert geometry.difference(header, header) == ("", ())


@settings(deadline=None, max_examples=30)
@given(st.permutations([0, 1, 2]).map(lambda axes: tuple(axes[:2])))
def test_flip_is_that_of_numpy(axes: tuple[int, ...]) -> None:
    grid = np.arange(24).reshape(2, 3, 4)
    voxels = grid.ravel(order="F")
    assert np.array_equal(geometry.flip(voxels, grid.shape, axes), np.flip(grid, axes).ravel(order="F"))
