from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_fess.losses.feature.anchors import cell_of, draw_anchors, near_a_border
from nnunet_fess.losses.feature.class_means import class_means


def patches(shape=(2, 12, 14), classes=3, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(-1, classes, shape, generator=generator),
        torch.rand(shape, generator=generator) < 0.3,
    )


def test_voxels_on_both_sides_of_a_face_are_near_a_border():
    classes = torch.tensor([[[0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1]]])
    assert near_a_border(classes)[0].tolist() == [[False, False, True, True, False, False]] * 2


def test_a_corner_is_no_face():
    classes = torch.zeros(1, 4, 4, dtype=torch.long)
    classes[0, 1, 1] = 1
    assert near_a_border(classes)[0].int().tolist() == [[0, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_neither_the_patch_nor_what_is_ignored_has_a_border():
    classes = torch.tensor([[[1, 1, -1, 0, 0]]])
    assert not near_a_border(classes).any()
    assert not near_a_border(torch.ones(2, 3, 4, 5, dtype=torch.long)).any()


def test_three_axes_are_looked_along():
    classes = torch.zeros(1, 3, 3, 3, dtype=torch.long)
    classes[0, 1, 1, 1] = 1
    assert int(near_a_border(classes).sum()) == 7


def drawn(classes, hard, per_patch, seeds=(1, 2), num_classes=3) -> list[tuple[int, int]]:
    sample, voxel = draw_anchors(classes, num_classes, hard, per_patch, seeds)
    return list(zip(sample.tolist(), voxel.tolist(), strict=True))


def test_every_class_of_every_patch_gives_as_many():
    classes, hard = patches()
    found = drawn(classes, hard, 30)
    assert Counter((sample, int(classes[sample].flatten()[voxel])) for sample, voxel in found) == {
        (sample, label): 10 for sample in range(2) for label in range(3)
    }
    assert len(set(found)) == len(found)


def test_at_least_half_are_hard():
    classes, hard = patches((2, 40, 40))
    sample, voxel = draw_anchors(classes, 3, hard, 120, (1, 2))
    share = hard.flatten(1)[sample, voxel].double().mean()
    assert 0.5 < share < 0.8  # half of them, and 0.3 · 0.8 of the rest


def test_where_nothing_is_hard_any_voxel_is_drawn():
    classes, hard = patches()
    assert len(drawn(classes, torch.zeros_like(hard), 30)) == 60
    assert len(drawn(classes, torch.ones_like(hard), 30)) == 60


def test_a_small_class_gives_all_that_it_has():
    classes = torch.zeros(1, 6, 6, dtype=torch.long)
    classes[0, 2, 2:5] = 2
    found = drawn(classes, near_a_border(classes), 20, (0,))
    assert {voxel for _, voxel in found if voxel in (14, 15, 16)} == {14, 15, 16}
    assert len(found) == 13


def test_ignored_voxels_are_never_drawn():
    classes = torch.full((2, 5, 5), -1)
    hard = torch.ones_like(classes, dtype=torch.bool)
    assert drawn(classes, hard, 8) == []
    classes[1, 0, :3] = 1
    assert sorted(drawn(classes, hard, 8)) == [(1, 0), (1, 1), (1, 2)]


def test_a_patch_is_drawn_by_its_seed_whatever_lies_beside_it():
    classes, hard = patches()
    both = drawn(classes, hard, 12, (5, 6))
    alone = drawn(classes[1:], hard[1:], 12, (6,))
    assert [voxel for sample, voxel in both if sample == 1] == [voxel for _, voxel in alone]
    assert drawn(classes, hard, 12, (5, 6)) == both != drawn(classes, hard, 12, (7, 8))


def test_torchs_own_chance_is_left_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn(*patches(), 12)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_voxel_has_the_same_chance():
    classes = torch.zeros(1000, 1, 10, dtype=torch.long)
    hard = torch.zeros_like(classes, dtype=torch.bool)
    counts = Counter(voxel for _, voxel in drawn(classes, hard, 4, range(1000)))
    assert sum(counts.values()) == 4000
    assert all(abs(counts[voxel] - 400) < 75 for voxel in range(10))  # some five standard deviations


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), side=st.integers(1, 7), per_patch=st.integers(0, 40), classes=st.integers(1, 4))
def test_drawn_voxels_are_different_ones_of_their_class(seed, side, per_patch, classes):
    labels, hard = patches((2, side, 5), classes, seed)
    found = drawn(labels, hard, per_patch, (seed, seed + 1), classes)
    assert len(set(found)) == len(found)
    for sample in range(2):
        flat = labels[sample].flatten()
        present = sorted(set(flat.tolist()) - {-1})
        each = max(2, per_patch // max(1, len(present)))
        got = Counter(int(flat[voxel]) for patch, voxel in found if patch == sample)
        assert got == {label: min(each, int((flat == label).sum())) for label in present}
        for label in present:
            of_hard = hard[sample].flatten() & (flat == label)
            taken = sum(bool(of_hard[voxel]) for patch, voxel in found if patch == sample)
            assert taken >= min(int(of_hard.sum()), each // 2)


@pytest.mark.parametrize(("voxels", "cells"), [((6, 8), (6, 8)), ((6, 8), (3, 2)), ((7, 5, 4), (2, 3, 1))])
def test_a_voxel_lies_in_the_cell_in_which_class_means_counts_it(voxels, cells):
    """A map that is 1 in one cell has in every voxel of that cell, and in no other, the class mean 1."""
    count = torch.tensor(cells).prod()
    for voxel in range(torch.tensor(voxels).prod()):
        labels = torch.full((1, *voxels), -1)
        labels.view(-1)[voxel] = 0
        features = torch.eye(count).view(1, count, *cells)
        means, _ = class_means(features, labels, 1)
        assert int(means.argmax()) == int(cell_of(torch.tensor([voxel]), voxels, cells))
