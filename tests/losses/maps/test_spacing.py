from __future__ import annotations

import pytest

from nnunet_fess.losses.maps.spacing import check_spacing, grid_spacing, voxels_at_least_one


def test_spacing_of_the_patch_itself():
    assert grid_spacing((3.0, 1.0), None, (7, 9)) == (3.0, 1.0)


def test_a_coarser_grid_of_the_same_field_of_view_has_larger_voxels():
    assert grid_spacing((5.0, 1.0, 1.0), (16, 64, 64), (16, 16, 32)) == (5.0, 4.0, 2.0)


def test_lengths_round_half_up_to_at_least_one_voxel():
    assert voxels_at_least_one(6.0, (1.0, 5.0, 4.0, 0.8, 20.0)) == [6, 1, 2, 8, 1]


def test_an_axis_without_spacing_is_refused():
    with pytest.raises(ValueError, match=r"each axis of \(4, 4, 4\). Got: \(1.0, 1.0\)"):
        grid_spacing((1.0, 1.0), None, (4, 4, 4))


@pytest.mark.parametrize("spacing", [(1.0, 0.0), (-1.0, 1.0), (float("nan"), 1.0)])
def test_a_spacing_that_is_not_positive_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing must be positive"):
        check_spacing(spacing, None)


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0)])
def test_a_patch_without_its_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match=r"patch_size \(8, 8, 8\) must have a spacing per axis"):
        check_spacing(spacing, (8, 8, 8))
