from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses.plain_loops import components as by_hand

from nnunet_fess.losses import distance_transform, voronoi_cells
from nnunet_fess.losses.maps.components import number_components
from nnunet_fess.losses.maps.voronoi import _nearest_on_device, most_cells, nearest_number


def two_dots() -> torch.Tensor:
    mask = torch.zeros(1, 1, 1, 9, 5, dtype=torch.bool)
    mask[..., 1, 2] = mask[..., 7, 2] = True
    return mask


def test_a_voxel_is_in_the_cell_of_the_nearest_component():
    cells = voronoi_cells(two_dots())
    assert cells.dtype == torch.int32
    assert (cells[..., :4, :] == 0).all()
    assert (cells[..., 5:, :] == 1).all()


def test_nearest_is_meant_in_mm():
    mask = torch.zeros(1, 1, 7, 7, dtype=torch.bool)
    mask[..., 3, 0] = mask[..., 0, 3] = True  # the voxel at (3, 3) is three steps from either
    along = [voronoi_cells(mask, spacing)[0, 0, 3, 3].item() for spacing in ((1, 5), (5, 1))]
    numbers = voronoi_cells(mask)[0, 0]
    assert along == [numbers[0, 3].item(), numbers[3, 0].item()]


@pytest.mark.parametrize("touching", [(1, 1, 1), (0, 1, 1), (0, 0, 1)])
def test_corners_edges_and_faces_join_a_component(touching):
    mask = torch.zeros(1, 1, 5, 5, 5, dtype=torch.bool)
    mask[0, 0, 2, 2, 2] = mask[(0, 0, *(2 + step for step in touching))] = True
    assert not voronoi_cells(mask).any()
    mask[0, 0, 0, 0, 0] = True
    assert voronoi_cells(mask).max() == 1


@pytest.mark.parametrize("content", [False, True])
def test_an_empty_and_a_full_channel_are_one_cell(content):
    assert not voronoi_cells(torch.full((2, 1, 3, 4), content)).any()


def test_channels_and_samples_have_components_of_their_own():
    mask = torch.zeros(2, 2, 1, 9, 5, dtype=torch.bool)
    mask[1, 0] = two_dots()[0, 0]
    cells = voronoi_cells(mask)
    assert torch.equal(cells[1, :1], voronoi_cells(two_dots())[0])
    assert not cells[0].any()
    assert not cells[1, 1].any()


@settings(deadline=None, max_examples=30)
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    spacing=st.lists(st.sampled_from([0.5, 1.0, 3.3, 70.0]), min_size=3, max_size=3),
    density=st.sampled_from([0.03, 0.1, 0.4]),
    seed=st.integers(0, 1000),
)
def test_a_cell_is_as_far_from_its_component_as_from_any(shape, spacing, density, seed):
    mask = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(seed)) < density
    spacing = spacing[: len(shape)]
    components = by_hand(mask[0, 0].numpy())
    count = components.max()
    if count < 2:
        assert not voronoi_cells(mask, spacing).any()
        return
    each = torch.from_numpy(components == np.arange(1, count + 1).reshape(-1, *[1] * len(shape)))
    distances = distance_transform(each[None], spacing)[0]
    on_device = _nearest_on_device(torch.from_numpy(components), spacing) - 1
    for cells in (voronoi_cells(mask, spacing)[0, 0].long(), on_device):
        assert sorted(set(cells[mask[0, 0]].tolist())) == list(range(count))
        # Two ways may count the components in another order: by the distance to its own, whichever number it has.
        own = {int(cells[torch.from_numpy(components == k)][0]): k - 1 for k in range(1, count + 1)}
        mine = cells.apply_(lambda cell, own=own: own[cell])
        assert torch.allclose(distances.gather(0, mine[None])[0], distances.amin(0))
        assert cells.max() < most_cells(shape)


def test_as_many_components_as_there_can_be_on_a_long_and_very_anisotropic_grid():
    mask = np.zeros((400, 400), bool)
    mask[::2, ::2] = True
    numbers, count = number_components(mask)
    nearest = nearest_number(numbers, count, (1000.0, 1.0))
    assert count == 200 * 200
    assert (nearest[numbers > 0] == numbers[numbers > 0]).all()
    assert (np.isin(nearest[::2, 1:-1:2] - numbers[::2, :-2:2], (0, 1))).all(), "that on its left or on its right"


@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_no_patch_has_more_cells_than_there_is_room_for(shape):
    mask = torch.zeros(1, 1, *shape, dtype=torch.bool)
    mask[(..., *(slice(None, None, 2),) * len(shape))] = True
    assert voronoi_cells(mask).max() + 1 == most_cells(shape)


@pytest.mark.parametrize(
    ("masks", "spacing", "message"),
    [
        (torch.zeros(1, 1, 3, 3), None, "masks must be bool"),
        (torch.zeros(1, 1, 3, 3, dtype=torch.bool), (1, 1, 1), "each with a spacing"),
        (torch.zeros(1, 1, 3, dtype=torch.bool), None, "2 or 3 axes"),
        (torch.zeros(1, 1, 3, 3, dtype=torch.bool), (1, 0), "spacing must be positive"),
    ],
)
def test_ill_arguments_are_refused(masks, spacing, message):
    with pytest.raises(ValueError, match=message):
        voronoi_cells(masks, spacing)
