from __future__ import annotations

import math

import pytest
import torch
from torch.autograd import gradcheck

from nnunet_fess.losses import sup_con_loss


def plain_loops(rows, labels, temperature, queue=(), queue_labels=()):
    """Eq. 2 of arXiv 2004.11362, pair by pair; the queue serves as partners and negatives, never as anchors."""
    candidates = list(zip([*rows, *queue], [*labels, *queue_labels], strict=True))

    def similar(a, b):
        return float(torch.dot(a, b) / (a.norm() * b.norm())) / temperature

    anchors = []
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        others = [(similar(row, other), other_label) for j, (other, other_label) in enumerate(candidates) if j != i]
        positive = [score for score, other_label in others if other_label == label]
        if positive:
            everything = math.log(sum(math.exp(score) for score, _ in others))
            anchors.append(-sum(score - everything for score in positive) / len(positive))
    return sum(anchors) / len(anchors)


def batch(rows=6, dim=4, classes=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, dim, dtype=dtype, generator=generator), torch.randint(0, classes, (rows,), generator=generator)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("queued", [0, 7])
def test_equals_plain_loops(temperature, queued):
    rows, labels = batch()
    queue = batch(queued, seed=1) if queued else ((), ())
    expected = plain_loops(rows, labels.tolist(), temperature, queue[0], list(queue[1]))
    tensors = queue if queued else (None, None)
    assert sup_con_loss(rows, labels, temperature, *tensors).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_closed_form_of_two_identical_rows_per_class(classes):
    rows = torch.eye(classes, dtype=torch.float64).repeat(2, 1)
    loss = sup_con_loss(rows, torch.arange(classes).repeat(2), temperature=1.0)
    assert loss.item() == pytest.approx(math.log(math.e + 2 * (classes - 1)) - 1, rel=1e-9)


@pytest.mark.parametrize("queued", [1, 5, 40])
def test_classes_told_apart_perfectly_leave_the_logarithm_of_the_number_of_partners(queued):
    two_opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    labels = torch.arange(2)
    loss = sup_con_loss(two_opposite, labels, 0.05, two_opposite.repeat(queued, 1), labels.repeat(queued))
    assert float(loss) == pytest.approx(math.log(queued), abs=1e-12)


def test_a_class_seen_once_finds_its_partner_in_the_queue():
    basis = torch.eye(2, dtype=torch.float64)
    loss = sup_con_loss(basis, torch.tensor([0, 1]), 1.0, basis, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx(math.log(math.e + 2) - 1, rel=1e-9)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]], ids=["no partner", "no other class"])
def test_where_there_is_nothing_to_contrast_value_and_gradient_are_zero(labels):
    rows = torch.randn(3, 4, requires_grad=True)
    loss = sup_con_loss(rows, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert rows.grad.abs().max() == 0


def test_no_rows_at_all():
    rows = torch.empty(0, 4, requires_grad=True)
    loss = sup_con_loss(rows, torch.empty(0, dtype=torch.long), queue=torch.randn(3, 4), queue_labels=torch.arange(3))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_computes_in_float32(dtype):
    loss = sup_con_loss(*batch(dtype=dtype))
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_gradcheck():
    rows, labels = batch()
    assert gradcheck(lambda x: sup_con_loss(x, labels, 0.5, *batch(5, seed=1)), (rows.requires_grad_(),))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": -1.0}, "temperature must be positive. Got: -1.0"),
        ({"labels": torch.zeros(2)}, r"labels \(N,\). Got: \(3, 4\) and \(2,\)"),
        ({"queue": torch.ones(2, 4)}, "belong together"),
        ({"queue": torch.ones(2, 5), "queue_labels": torch.zeros(2)}, r"queue must be \(Q, 4\)"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"embeddings": torch.ones(3, 4), "labels": torch.zeros(3, dtype=torch.long)} | change
    with pytest.raises(ValueError, match=message):
        sup_con_loss(**arguments)
