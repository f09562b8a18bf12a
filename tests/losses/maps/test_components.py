from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from losses.plain_loops import components
from scipy import ndimage

from nnunet_fess.losses.maps.components import number_components


@settings(deadline=None, max_examples=60)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    density=st.sampled_from([0.0, 0.05, 0.2, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_equals_a_walk_from_voxel_to_voxel(shape, density, seed):
    mask = np.random.default_rng(seed).random(shape) < density
    numbers, count = number_components(mask)
    assert np.array_equal(numbers, components(mask))
    assert (numbers.dtype, count) == (np.int32, numbers.max())


def test_a_spiral_is_one_and_the_dots_in_its_arms_are_others():
    mask = np.zeros((41, 41), bool)
    y, x, step, along = 0, 0, 40, (0, 1)
    for turn in range(18):
        for _ in range(step):
            mask[y, x] = True
            y, x = y + along[0], x + along[1]
        along = (along[1], -along[0])
        step -= 4 if turn % 2 and turn > 1 else 0
    expected, count = ndimage.label(mask, np.ones((3, 3)))
    assert count == 1
    mask[2, 2] = mask[36, 38] = True
    expected, count = ndimage.label(mask, np.ones((3, 3)))
    numbers, found = number_components(mask)
    assert found == count > 1
    assert np.array_equal(numbers, expected)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_equals_scipy_on_a_large_mask(axes, transposed):
    blobs = ndimage.gaussian_filter(np.random.default_rng(0).random((60,) * axes), 2) > 0.51
    mask = blobs.T if transposed else blobs
    expected, count = ndimage.label(mask, np.ones((3,) * axes))
    numbers, found = number_components(mask)
    assert found == count > 5
    assert np.array_equal(numbers, expected)
