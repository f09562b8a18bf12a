from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from nnunet_fess.losses.maps.windows import windowed_max, windowed_or

VALUES = torch.randint(0, 200, (2, 9, 7, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("radii", [(0, 0, 0), (1, 1, 1), (2, 0, 3), (6, 6, 6), (20, 1, 7)])
@pytest.mark.parametrize("outside", [0, 255])
def test_maximum_equals_scipys(radii, outside):
    size = [2 * r + 1 for r in radii]
    expected = [maximum_filter(sample, size, mode="constant", cval=outside) for sample in VALUES.numpy()]
    assert np.array_equal(windowed_max(VALUES, radii, outside), expected)


def test_or_collects_the_bits_in_reach():
    bits = torch.tensor([[1, 0, 0, 2, 0, 0, 4]])
    assert windowed_or(bits, [2]).tolist() == [[1, 3, 3, 2, 6, 6, 4]]


def test_the_outside_has_bits_too():
    assert windowed_or(torch.tensor([[1, 0, 0, 0, 2]]), [1], outside=4).tolist() == [[5, 1, 0, 2, 6]]


def test_the_input_stays_as_it_is():
    before = VALUES.clone()
    windowed_max(VALUES, (3, 3, 3))
    assert torch.equal(VALUES, before)
