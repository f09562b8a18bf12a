from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from nnunet_fess.losses import prototype_loss


def example(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    rows, prototypes = (torch.randn(count, 4, dtype=dtype, generator=generator) for count in (7, 3))
    return rows, torch.tensor([0, 1, 2, 2, 1, 0, 0]), prototypes, torch.arange(3)


def test_two_voxels_on_the_prototypes_of_two_classes():
    basis, labels = torch.eye(2, dtype=torch.float64), torch.arange(2)
    assert prototype_loss(basis, labels, basis, labels, 0.5).item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-9)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_cross_entropy_of_cosines(temperature):
    rows, labels, prototypes, _ = example()
    cosines = F.normalize(rows) @ F.normalize(prototypes).T
    expected = F.cross_entropy(cosines / temperature, labels)
    assert torch.allclose(prototype_loss(*example(), temperature), expected)


def test_the_order_of_prototypes_does_not_matter():
    rows, labels, prototypes, classes = example()
    assert torch.allclose(prototype_loss(rows, labels, prototypes[[2, 0, 1]], classes[[2, 0, 1]]), prototype_loss(*example()))


def test_a_class_without_prototype_takes_no_part():
    rows, labels, prototypes, classes = example()
    known = labels < 2
    expected = prototype_loss(rows[known], labels[known], prototypes[:2], classes[:2])
    assert torch.allclose(prototype_loss(rows, labels, prototypes[:2], classes[:2]), expected)


@pytest.mark.parametrize("known", [0, 1])
def test_with_fewer_than_two_prototypes_value_and_gradient_are_zero(known):
    rows, labels, prototypes, classes = example()
    loss = prototype_loss(rows.requires_grad_(), labels, prototypes[:known], classes[:known])
    loss.backward()
    assert loss.item() == 0
    assert not rows.grad.any()


def test_no_voxels_at_all():
    rows = torch.empty(0, 4, requires_grad=True)
    loss = prototype_loss(rows, torch.empty(0, dtype=torch.long), *example(torch.float32)[2:])
    loss.backward()
    assert loss.item() == 0


def test_gradcheck():
    rows, *others = example()
    assert gradcheck(lambda x: prototype_loss(x, *others, 0.5), (rows.requires_grad_(),))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_computes_in_float32(dtype):
    assert prototype_loss(*example(dtype)).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1.0}, "temperature must be positive. Got: -1.0"),
        ({"labels": torch.zeros(2)}, r"labels \(N,\). Got: \(3, 4\) and \(2,\)"),
        (
            {"prototypes": torch.ones(2, 5)},
            r"prototypes must be \(K, 4\) and prototype_labels \(K,\). Got: \(2, 5\) and \(2,\)",
        ),
        ({"prototype_labels": torch.arange(3)}, r"Got: \(2, 4\) and \(3,\)"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "embeddings": torch.ones(3, 4),
        "labels": torch.zeros(3, dtype=torch.long),
        "prototypes": torch.ones(2, 4),
        "prototype_labels": torch.arange(2),
    }
    with pytest.raises(ValueError, match=message):
        prototype_loss(**arguments | change)
