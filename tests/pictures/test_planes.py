"""Planes as a radiologist reads them, whatever way the file is stored."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_fess.pictures.planes import Geometry, choose, counts, geometry_of_case, geometry_of_image

SPACING = {"R": 1.0, "L": 1.0, "A": 2.0, "P": 2.0, "S": 5.0, "I": 5.0}
# Where the index grows, in NIfTI's world.
WORLD = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
# The patient: superior → inferior, anterior → posterior, right → left.
PATIENT = np.arange(4 * 3 * 2).reshape(4, 3, 2)
EVERY_STORAGE = ["".join(codes) for order in itertools.permutations(("RL", "AP", "SI")) for codes in itertools.product(*order)]


def _stored(codes):
    """The patient as an array whose indices grow in these directions."""
    axis = {"S": 0, "I": 0, "A": 1, "P": 1, "R": 2, "L": 2}
    volume = PATIENT.transpose([axis[code] for code in codes])
    return np.flip(volume, [place for place, code in enumerate(codes) if code in "SAR"])


def _geometry(codes):
    return Geometry(tuple(SPACING[code] for code in codes), np.array([WORLD[code] for code in codes], float).T)


@pytest.mark.parametrize("codes", EVERY_STORAGE)
def test_every_storage_turns_to_the_same_patient(codes):
    geometry = _geometry(codes)
    assert np.array_equal(geometry.turn(_stored(codes)), PATIENT)
    assert geometry.turned_spacing == (5.0, 2.0, 1.0)


@pytest.mark.parametrize("codes", EVERY_STORAGE)
def test_the_slice_that_is_named_is_the_stored_one(codes):
    geometry, stored = _geometry(codes), _stored(codes)
    for axis in range(3):
        turned = geometry.turned_axis(axis)
        for index in range(stored.shape[axis]):
            plane = np.take(PATIENT, index, turned)
            there = np.take(stored, geometry.stored_index(turned, index, stored.shape[axis]), axis)
            assert set(plane.flat) == set(there.flat)


def test_edges_and_names():
    geometry = _geometry("LPS")
    assert [geometry.name(axis) for axis in range(3)] == ["axial", "coronal", "sagittal"]
    assert geometry.edges(0) == ("R", "L", "A", "P")  # left, right, upper, lower
    assert geometry.edges(1) == ("R", "L", "S", "I")
    assert geometry.edges(2) == ("A", "P", "S", "I")


def test_an_oblique_volume_keeps_the_nearest_plane_and_says_so():
    angle = np.radians(30)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    geometry = _geometry("LPS")
    tilted = Geometry(geometry.spacing, turn @ geometry.directions)
    assert tilted.name(0) == "axial, 30° oblique"
    assert np.array_equal(tilted.turn(_stored("LPS")), PATIENT)


@pytest.mark.parametrize(
    "properties", [{}, {"sitk_stuff": {"direction": (1, 0, 0, 1)}}, {"nibabel_stuff": {"original_affine": np.zeros((4, 4))}}]
)
def test_without_directions_the_array_is_shown_as_it_lies(properties):
    geometry = geometry_of_case(properties, (0, 1, 2), (5, 2, 1))
    assert geometry.directions is None
    assert geometry.turn(PATIENT) is PATIENT
    assert set(geometry.edges(0)) == {""}
    assert "axial" not in geometry.name(0)


@pytest.mark.parametrize("transpose", list(itertools.permutations(range(3))))
def test_nnunets_readers_and_transpositions(transpose):
    """A file in ITK's identity orientation is LPS: its array is (S, P, L), NIfTI's affine diag(-1, -1, 1)."""
    stored = _stored("SPL")
    spacing = [(5.0, 2.0, 1.0)[axis] for axis in transpose]
    itk = {"sitk_stuff": {"direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}}
    nifti = {"nibabel_stuff": {"original_affine": np.diag([-1, -2, 5, 1])}}
    for properties in (itk, nifti):
        geometry = geometry_of_case(properties, transpose, spacing)
        assert np.array_equal(geometry.turn(stored.transpose(transpose)), PATIENT)
        assert geometry.turned_spacing == (5.0, 2.0, 1.0)


@pytest.mark.parametrize("flip", [1, -1])
def test_an_images_own_geometry(flip):
    image = sitk.GetImageFromArray(_stored("SPL" if flip > 0 else "SPR").astype(np.int16))
    image.SetSpacing((1, 2, 5))
    image.SetDirection((flip, 0, 0, 0, 1, 0, 0, 0, 1))
    geometry = geometry_of_image(image)
    assert np.array_equal(geometry.turn(sitk.GetArrayFromImage(image)), PATIENT)
    assert geometry.turned_spacing == (5.0, 2.0, 1.0)


def _blob(*places):
    mask = np.zeros((9, 9, 9), bool)
    for place in places:
        mask[place] = True
    return mask


class TestChoose:
    def test_structures_without_a_voxel_are_left_out(self):
        assert list(counts({"there": _blob((1, 1, 1)), "not there": _blob()})) == ["there"]

    def test_the_smallest_structure_is_in_a_plane_however_far_away(self):
        large = {str(number): _blob((slice(0, 5), slice(0, 5), number)) for number in range(5)}
        areas = counts({**large, "smallest": _blob((8, 8, 8))})
        planes = choose(areas, (9, 9, 9), [0, 1, 2])
        assert any(areas["smallest"][axis][index] for axis, index in enumerate(planes))

    def test_planes_on_one_axis_differ_and_keep_apart(self):
        areas = counts({"rod": _blob((slice(0, 9), 4, 4))})
        planes = choose(areas, (9, 9, 9), [0, 0, 0])
        assert min(abs(a - b) for a, b in itertools.combinations(planes, 2)) >= 1
        assert max(planes) - min(planes) >= 2

    def test_more_planes_than_slices(self):
        assert choose(counts({"a": np.ones((1, 4, 4), bool)}), (1, 4, 4), [0]) == [0]

    def test_of_nothing_the_middle(self):
        assert choose({}, (9, 7, 5), [0, 1, 2]) == [4, 3, 2]
        assert choose({}, (8, 7, 5), [0, 0, 0]) == [2, 4, 6]
