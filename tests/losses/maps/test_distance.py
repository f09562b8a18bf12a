"""The distance transform against scipy's, class by class."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from nnunet_fess.losses.maps import distance
from nnunet_fess.losses.maps.distance import distance_to_border, distance_transform, distances_to_two_nearest

LENGTHS = st.sampled_from([1, 2, 3, 4, 5, 7, 11, 13, 16, 23])
STEPS = st.sampled_from([1.0, 0.5, 0.78125, 3.0, 10.0]) | st.floats(0.5, 10)


@st.composite
def label_maps(draw):
    """Labels (2, 1, *spatial) in blobs, noise, single voxels or nothing; the number of labels and the spacing."""
    spatial = draw(st.lists(LENGTHS, min_size=2, max_size=3))
    number = draw(st.sampled_from([2, 3, 5]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["blobs", "noise", "one voxel", "empty", "full"]))
    if kind == "blobs":
        coarse = generator.integers(0, number, [2, 1, *(-(-n // 4) for n in spatial)])
        labels = coarse.repeat(4, 2).repeat(4, 3)
        labels = labels.repeat(4, 4) if len(spatial) == 3 else labels
        labels = labels[(slice(None), slice(None), *(slice(n) for n in spatial))]
    elif kind == "noise":
        labels = generator.integers(0, number, [2, 1, *spatial])
    else:
        labels = np.full([2, 1, *spatial], int(kind == "full"))
        if kind == "one voxel":
            labels[(0, 0, *(generator.integers(n) for n in spatial))] = 1
    steps = [draw(STEPS)] * len(spatial) if draw(st.booleans()) else [draw(STEPS) for _ in spatial]
    return torch.from_numpy(np.ascontiguousarray(labels)).to(torch.uint8), number, steps


def scipy_distance(mask, spacing):
    """To the nearest True voxel; infinite without one."""
    return distance_transform_edt(~mask, spacing) if mask.any() else np.full(mask.shape, math.inf)


def scipy_border(labels, spacing):
    result = np.full(labels.shape, math.inf)
    for value in np.unique(labels):
        own = labels == value
        result[own] = scipy_distance(~own, spacing)[own]
    return result


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8)])
@pytest.mark.parametrize("length", [1, 5, 12, 20, 29])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_an_object_of_any_size_anywhere_is_seen_from_everywhere(length, place, spacing):
    """Few or many positions know it, on one side of most of the others, on both, or among them (it has a twin)."""
    start = round(place * (31 - length))
    mask = np.zeros((31, 29, 30), bool)
    mask[start : start + length, 2 : 2 + length, start : start + length] = True
    twin = mask | mask[::-1, ::-1, ::-1]
    found = distance_transform(torch.from_numpy(np.stack([mask, twin]))[None], spacing)[0]
    for one, seen in zip((mask, twin), found, strict=True):
        np.testing.assert_allclose(seen, scipy_distance(one, spacing), atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(label_maps())
def test_equals_scipy_on_every_class(case):
    labels, number, spacing = case
    masks = labels == torch.arange(number).view(-1, *[1] * len(spacing))
    found = distance_transform(masks, spacing)
    assert found.dtype == torch.float32
    for mask, ours in zip(masks.flatten(0, 1).numpy(), found.flatten(0, 1).numpy(), strict=True):
        np.testing.assert_allclose(ours, scipy_distance(mask, spacing), rtol=0, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(label_maps())
def test_to_the_border_equals_scipy_class_by_class(case):
    labels, _, spacing = case
    found = distance_to_border(labels, spacing)
    for values, ours in zip(labels[:, 0].numpy(), found[:, 0].numpy(), strict=True):
        np.testing.assert_allclose(ours, scipy_border(values, spacing), rtol=0, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(label_maps())
def test_the_way_of_a_gpu_equals_that_of_a_cpu(case):
    labels, _, spacing = case
    for to_border, arrays in ((False, labels[:, 0] == 1), (True, labels[:, 0])):
        ours = distance._squared_on_device(arrays, spacing, math.inf, to_border).sqrt()
        other = distance._operator(arrays, spacing, math.inf, to_border).sqrt()
        torch.testing.assert_close(ours, other, rtol=0, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(label_maps(), st.sampled_from([0.3, 1.0, 4.0, 11.0, 1e3]))
def test_a_cap_only_cuts(case, cap):
    labels, _, spacing = case
    for transform, arrays in ((distance_transform, labels == 1), (distance_to_border, labels)):
        expected = transform(arrays, spacing).clamp(max=cap)
        torch.testing.assert_close(transform(arrays, spacing, cap), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(61, 67, 71), (128, 64, 4), (300, 5, 7), (1, 257, 263)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8), (1.0, 2.0, 3.3)])
def test_large_and_odd_sizes(shape, spacing):
    labels = torch.zeros(1, 1, *shape, dtype=torch.int16)
    labels[0, 0, : shape[0] // 2, : shape[1] // 3] = 7
    labels[0, 0, -1, -1, -1] = 3
    for value in (3, 7):
        expected = scipy_distance(labels[0, 0].numpy() == value, spacing)
        np.testing.assert_allclose(distance_transform(labels == value, spacing)[0, 0], expected, rtol=0, atol=1e-4)
    expected = scipy_border(labels[0, 0].numpy(), spacing)
    np.testing.assert_allclose(distance_to_border(labels, spacing)[0, 0], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("shape", "cap"), [((40, 50, 45), 7.0), ((700, 3), 200.0), ((700, 3), 300.0), ((20, 20), 0.5)])
@pytest.mark.parametrize("spacing", [1.0, 0.7])
def test_what_lies_beyond_the_cap_is_not_worked_on_and_has_the_cap(shape, cap, spacing):
    mask = torch.zeros(1, 1, *shape, dtype=torch.bool)
    mask[(0, 0, *(slice(n // 2, n // 2 + 2) for n in shape))] = True
    steps = [spacing] * len(shape)
    expected = np.minimum(scipy_distance(mask[0, 0].numpy(), steps), cap)
    np.testing.assert_allclose(distance_transform(mask, steps, cap)[0, 0], expected, rtol=0, atol=1e-4)


def test_threads_share_the_arrays():
    masks = torch.rand(2, 3, 9, 8, 7, generator=torch.Generator().manual_seed(0)) > 0.9
    alone = distance_transform(masks)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(distance_transform(masks), alone)
    finally:
        torch.set_num_threads(before)


def test_a_patch_border_is_no_goal():
    labels = torch.zeros(1, 1, 5, 9)
    assert distance_to_border(labels.bool()).isinf().all()
    assert (distance_transform(labels.bool(), cap=40.0) == 40).all()


def test_compiles_whole():
    masks = torch.rand(1, 2, 5, 6, generator=torch.Generator().manual_seed(0)) > 0.7
    compiled = torch.compile(distance_transform, backend="eager", fullgraph=True)
    assert torch.equal(compiled(masks, (1.0, 2.0)), distance_transform(masks, (1.0, 2.0)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_equals_the_cpu():
    masks = torch.rand(2, 3, 17, 31, 29, generator=torch.Generator().manual_seed(0)) > 0.99
    spacing = (3.0, 0.8, 0.8)
    torch.testing.assert_close(
        distance_transform(masks.cuda(), spacing).cpu(), distance_transform(masks, spacing), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((torch.zeros(1, 1, 4, 4),), "bool.*Got: torch.float32"),
        ((torch.zeros(1, 1, 4, 4).bool(), (1.0, 1.0, 1.0)), r"spacing.*Got: \(1, 1, 4, 4\), \[1.0, 1.0, 1.0\]"),
        ((torch.zeros(1, 1, 4).bool(),), "2 or 3 axes.*Got"),
        ((torch.zeros(1, 1, 4, 4).bool(), (1.0, 0.0)), r"positive.*Got: \(1.0, 0.0\)"),
        ((torch.zeros(1, 1, 4, 4).bool(), None, 0.0), "cap.*Got: 0.0"),
    ],
)
def test_ill_arguments_are_refused(arguments, found):
    with pytest.raises(ValueError, match=found):
        distance_transform(*arguments)


def test_labels_in_floating_point_are_refused():
    with pytest.raises(ValueError, match=r"integers or bool\. Got: torch.float32"):
        distance_to_border(torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("shape", "spacing"), [((12, 9), (1.0, 1.0)), ((7, 10, 9), (2.5, 1.0, 0.7)), ((1, 12, 14), (5.0, 0.8, 0.8))]
)
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
