from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from nnunet_fess.losses.feature.class_means import class_means, disjoint_classes, misclassified


def plain_loops(features, classes, number):
    """Every voxel votes with the feature of the cell it lies in."""
    rows, labels = [], []
    for sample in range(len(features)):
        for label in range(number):
            voxels = (classes[sample] == label).nonzero()
            if len(voxels):
                cells = [
                    tuple(int(i) * n // size for i, n, size in zip(v, features.shape[2:], classes.shape[1:], strict=True))
                    for v in voxels
                ]
                rows.append(torch.stack([features[(sample, slice(None), *cell)] for cell in cells]).mean(0))
                labels.append(label)
    return torch.stack(rows), torch.tensor(labels)


@given(
    shape=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=2, max_size=3),
    number=st.integers(1, 3),
    seed=st.integers(0, 100),
)
@settings(deadline=None, max_examples=25)
def test_equals_plain_loops(shape, number, seed):
    generator = torch.Generator().manual_seed(seed)
    cells = [count for count, _ in shape]
    voxels = [count * factor for count, factor in shape]
    features = torch.randn(2, 4, *cells, dtype=torch.float64, generator=generator)
    classes = torch.randint(0, number, (2, *voxels), generator=generator)
    means, labels = class_means(features, classes, number)
    expected, expected_labels = plain_loops(features, classes, number)
    assert torch.equal(labels, expected_labels)
    assert torch.allclose(means, expected)


def test_absent_and_uncounted_classes_take_no_part():
    classes = torch.tensor([[[0, 0, -1, 2]], [[9, 9, 2, 2]]])
    _, labels = class_means(torch.randn(2, 3, 1, 2), classes, 3)
    assert labels.tolist() == [0, 2, 2]


def test_a_single_voxel_is_not_lost():
    classes = torch.zeros(1, 8, 8, dtype=torch.long)
    classes[0, 5, 6] = 1
    features = torch.randn(1, 3, 2, 2)
    means, labels = class_means(features, classes, 2)
    assert labels.tolist() == [0, 1]
    assert torch.allclose(means[1], features[0, :, 1, 1])


def test_nothing_counts():
    means, labels = class_means(torch.randn(2, 3, 2, 2), torch.full((2, 4, 4), -1), 2)
    assert means.shape == (0, 3)
    assert labels.shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_computes_in_float32(dtype):
    means, _ = class_means(torch.randn(1, 3, 2, 2, dtype=dtype), torch.zeros(1, 4, 4, dtype=torch.long), 1)
    assert means.dtype == torch.float32


def test_backward_inside_of_autocast_keeps_float32():
    classes = torch.randint(0, 2, (1, 6, 6), generator=torch.Generator().manual_seed(0))
    gradients = []
    for enabled in (False, True):
        features = torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            class_means(features, classes, 2)[0].square().sum().backward()
        gradients.append(features.grad)
    assert torch.equal(*gradients)


def test_gradcheck():
    classes = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(0))
    features = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda z: class_means(z, classes, 3)[0], (features,))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"Got: \(1, 3, 2, 2\) and \(1, 4, 4, 4\)"):
        class_means(torch.ones(1, 3, 2, 2), torch.zeros(1, 4, 4, 4), 2)


def test_labels_are_classes_already():
    labels = torch.tensor([[[[0, 1], [2, 3]]]])
    classes, number = disjoint_classes(torch.zeros(1, 3, 2, 2), labels, ignore_label=3)
    assert number == 3
    assert classes.tolist() == [[[0, 1], [2, -1]]]


def test_regions_become_the_set_a_voxel_lies_in():
    whole, core = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, 1]])
    ignored = torch.tensor([[0, 0], [0, 1]])
    target = torch.stack([whole, core, ignored])[None].bool()
    classes, number = disjoint_classes(torch.zeros(1, 2, 2, 2), target)
    assert number == 4
    assert classes.tolist() == [[[0, 1], [3, -1]]]


def test_too_many_regions_are_refused():
    with pytest.raises(ValueError, match="at most 8 regions"):
        disjoint_classes(torch.zeros(1, 9, 2, 2), torch.zeros(1, 9, 2, 2))


def test_a_voxel_is_misclassified_where_another_logit_is_higher():
    logits = torch.tensor([[1.0, 1.0, 1.0, 1.0], [2.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]]).view(1, 3, 4)
    assert misclassified(logits, torch.tensor([[0, 0, 0, 1]]), "labels").tolist() == [[True, False, False, False]]


def test_a_voxel_is_misclassified_where_any_region_is_wrong():
    logits = torch.tensor([[1.0, 1.0, -1.0, 1.0], [1.0, -1.0, -1.0, 1.0]]).view(1, 2, 4)
    assert misclassified(logits, torch.tensor([[3, 1, 1, 2]]), "regions").tolist() == [[False, False, True, True]]
