from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from nnunet_fess.losses.maps.distance import distances_to_two_nearest


@pytest.mark.parametrize(("shape", "spacing"), [((12, 9), (1.0, 1.0)), ((7, 10, 9), (2.5, 1.0, 0.7))])
def test_equals_scipys_distances_up_to_the_reach(shape, spacing):
    masks = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0)) > 0.98
    masks.flatten(2)[..., 0] = True  # no object is empty
    nearest, second = distances_to_two_nearest(masks, 4.0, spacing)
    each = np.stack([[distance_transform_edt(~m, spacing) for m in sample] for sample in masks.numpy()])
    each[each > 4.0 + 1e-6] = np.inf
    each.sort(axis=1)
    assert np.allclose(nearest[:, 0], each[:, 0])
    assert np.allclose(second[:, 0], each[:, 1])


def test_without_a_second_object_it_is_infinitely_far():
    masks = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    masks[:, 0, 0, 0] = True
    nearest, second = distances_to_two_nearest(masks, 10.0, (1.0, 1.0))
    assert nearest[0, 0, 0].tolist() == [0, 1, 2, 3]
    assert second.isinf().all()
