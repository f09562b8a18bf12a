from __future__ import annotations

import math

import pytest
import torch
from losses.feature.largest_tensor import largest_tensor
from torch.autograd import gradcheck

from nnunet_fess.losses import pixel_con_loss, sup_con_loss


def plain_loops(rows, labels, cases, temperature, queue=(), queue_labels=(), queue_cases=()):
    """The equation of the docstring, pair by pair."""
    everything = list(zip([*rows, *queue], [*labels, *queue_labels], [*cases, *queue_cases], strict=True))
    anchors = []
    for i, (row, label, case) in enumerate(zip(rows, labels, cases, strict=True)):
        others = [other for j, other in enumerate(everything) if j != i]
        elsewhere = any(other[1] == label and other[2] != case for other in others)
        if elsewhere:
            others = [other for other in others if other[1] != label or other[2] != case]
        scores = [float(torch.dot(row, z) / (row.norm() * z.norm())) / temperature for z, _, _ in others]
        partners = [score for score, other in zip(scores, others, strict=True) if other[1] == label]
        if partners and len(partners) < len(others):
            total = math.log(sum(math.exp(score) for score in scores))
            anchors.append(-sum(score - total for score in partners) / len(partners))
    return sum(anchors) / len(anchors) if anchors else 0.0


def voxels(count=8, classes=3, cases=2, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, 4, dtype=dtype, generator=generator)
    return (rows, *(torch.randint(0, most, (count,), generator=generator) for most in (classes, cases)))


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("cases", [1, 2, 5])
@pytest.mark.parametrize("queued", [0, 9])
def test_equals_plain_loops(temperature, cases, queued):
    batch, queue = voxels(cases=cases), voxels(queued, cases=cases, seed=1)
    expected = plain_loops(*map(list, batch), temperature, *map(list, queue))
    given = queue if queued else (None, None, None)
    assert pixel_con_loss(*batch, temperature, *given).item() == pytest.approx(expected, rel=1e-6)


def test_two_voxels_of_two_classes_and_their_likes_in_another_case():
    """Each has one partner, of similarity 1, and two rivals, of similarity 0."""
    basis, labels, here = torch.eye(2, dtype=torch.float64), torch.arange(2), torch.zeros(2, dtype=torch.long)
    value = pixel_con_loss(basis, labels, here, 1.0, basis, labels, here + 1)
    assert value.item() == pytest.approx(math.log(math.e + 2) - 1, rel=1e-9)


def test_a_voxel_of_the_same_case_is_neither_partner_nor_rival_where_another_case_has_one():
    rows = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], requires_grad=True)
    queue, labels = torch.tensor([[1.0, 0.0]]), torch.tensor([0, 0, 1])
    loss = pixel_con_loss(rows, labels, torch.zeros(3), 1.0, queue, torch.tensor([0]), torch.tensor([1]))
    # Voxel 0: partner 1, rival 0. Voxel 1: partner 0.6, rival 0.8. Voxel 2 has no partner.
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(0.2))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_within_one_case_it_is_sup_con():
    rows, labels, _ = voxels()
    queue, queue_labels, _ = voxels(5, seed=1)
    nobody = [torch.full_like(each, -1) for each in (labels, queue_labels)]
    found = pixel_con_loss(rows, labels, nobody[0], 0.3, queue, queue_labels, nobody[1])
    assert torch.equal(found, sup_con_loss(rows, labels, 0.3, queue, queue_labels))


def test_gradcheck():
    rows, labels, cases = voxels()
    queue = voxels(6, seed=1)
    assert gradcheck(lambda x: pixel_con_loss(x, labels, cases, 0.5, *queue), (rows.requires_grad_(),))


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]], ids=["no partner", "no other class"])
def test_where_there_is_nothing_to_contrast_value_and_gradient_are_zero(labels):
    rows = torch.randn(3, 4, requires_grad=True)
    loss = pixel_con_loss(rows, torch.tensor(labels), torch.arange(3))
    loss.backward()
    assert loss.item() == 0
    assert not rows.grad.any()


def test_no_voxels_at_all():
    rows, nothing = torch.empty(0, 4, requires_grad=True), torch.empty(0, dtype=torch.long)
    loss = pixel_con_loss(rows, nothing, nothing, 0.1, torch.randn(3, 4), torch.arange(3), torch.arange(3))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_computes_in_float32(dtype):
    loss = pixel_con_loss(*voxels(dtype=dtype))
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def test_backward_inside_of_autocast_changes_nothing():
    gradients = []
    for enabled in (False, True):
        rows, labels, cases = voxels(dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            pixel_con_loss(rows.requires_grad_(), labels, cases).backward()
        gradients.append(rows.grad)
    assert torch.equal(*gradients)


def test_memory_grows_with_voxels_times_candidates():
    rows, labels, cases = voxels(60, dtype=torch.float32)
    queue = voxels(300, seed=1, dtype=torch.float32)
    assert largest_tensor(lambda: pixel_con_loss(rows.requires_grad_(), labels, cases, 0.1, *queue).backward()) <= 60 * 360


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive. Got: 0.0"),
        ({"temperature": math.inf}, "temperature must be positive and finite. Got: inf"),
        ({"cases": torch.zeros(2)}, r"labels and cases must have one shape \(N,\). Got: \(3,\) and \(2,\)"),
        ({"queue": torch.ones(2, 4), "queue_labels": torch.zeros(2)}, "queue, queue_labels and queue_cases belong together"),
        (
            {"queue": torch.ones(2, 4), "queue_labels": torch.zeros(2), "queue_cases": torch.zeros(3)},
            r"queue_labels and queue_cases must have one shape \(Q,\). Got: \(2,\) and \(3,\)",
        ),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"embeddings": torch.ones(3, 4), "labels": torch.zeros(3, dtype=torch.long), "cases": torch.zeros(3)} | change
    with pytest.raises(ValueError, match=message):
        pixel_con_loss(**arguments)
