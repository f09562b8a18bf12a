from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses.feature.largest_tensor import largest_tensor
from pytorch_metric_learning.losses import SupConLoss
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


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("queued", [0, 7])
def test_equals_pytorch_metric_learning(temperature, queued):
    rows, labels = batch(8)
    queue, queue_labels = batch(queued, seed=1) if queued else (rows[:0], labels[:0])
    everything, all_labels = torch.cat([rows, queue]), torch.cat([labels, queue_labels])
    same = labels[:, None] == all_labels
    pairs = (*same.clone().fill_diagonal_(False).nonzero(as_tuple=True), *(~same).nonzero(as_tuple=True))
    expected = SupConLoss(temperature)(rows, indices_tuple=pairs, ref_emb=everything)
    found = sup_con_loss(rows, labels, temperature, queue if queued else None, queue_labels if queued else None)
    assert torch.allclose(found, expected)


def test_one_partner_and_one_negative_alike_cost_log_2():
    assert sup_con_loss(torch.eye(3), torch.tensor([0, 0, 1]), 0.7).item() == pytest.approx(math.log(2))


def test_an_anchor_that_costs_next_to_nothing_counts_in_the_mean():
    rows = torch.tensor([[1, 0], [1, 0], [-1, 0], [0.2, 0.98]])
    labels = torch.tensor([0, 0, 1, 1])
    expected = plain_loops(rows.double(), labels.tolist(), 0.05)
    assert expected == pytest.approx(2.173, abs=1e-3)
    assert sup_con_loss(rows, labels, 0.05).item() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000), count=st.integers(0, 7), queued=st.integers(0, 5), temperature=st.sampled_from([1e-3, 0.05, 1])
)
def test_float32_has_value_and_gradient_of_float64(seed, count, queued, temperature):
    rows, labels = batch(count, seed=seed, dtype=torch.float32)
    queue = batch(queued, seed=seed + 1, dtype=torch.float32) if queued else (None, None)
    results = []
    for dtype in (torch.float32, torch.float64):
        x = rows.to(dtype).requires_grad_()
        value = sup_con_loss(x, labels, temperature, *queue)
        results.append((value.double(), torch.autograd.grad(value, x)[0].double()))
    (value, gradient), (exact, exact_gradient) = results
    assert torch.allclose(value, exact, rtol=1e-5 + 1e-6 / temperature, atol=1e-30)
    assert (gradient - exact_gradient).norm() <= (1e-5 + 1e-6 / temperature) * exact_gradient.norm() + 1e-30


def test_confident_rows_still_learn():
    # Told apart by 20 temperatures: what is left to learn is 1e-9 of the beginning, and float32 can say it.
    rows = torch.tensor([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.1], [-1.0, -0.1]])
    labels = torch.tensor([0, 0, 1, 1])
    values, gradients = [], []
    for dtype in (torch.float32, torch.float64):
        x = rows.to(dtype).requires_grad_()
        values.append(sup_con_loss(x, labels, 0.1))
        gradients.append(torch.autograd.grad(values[-1], x)[0].double())
    assert values[0].item() == pytest.approx(values[1].item(), rel=1e-4)
    assert torch.cosine_similarity(*(g.flatten() for g in gradients), dim=0) > 0.9999


def test_memory_grows_with_rows_times_candidates():
    rows, labels = batch(60, 8, dtype=torch.float32)
    queue = batch(300, 8, seed=1, dtype=torch.float32)
    rows.requires_grad_()
    assert largest_tensor(lambda: sup_con_loss(rows, labels, 0.1, *queue).backward()) <= 60 * 360


def test_a_dead_embedding_is_similar_to_nothing():
    rows, labels = batch(dtype=torch.float32)
    rows[0] = 0
    loss = sup_con_loss(rows.requires_grad_(), labels)
    loss.backward()
    assert loss.isfinite()
    assert rows.grad.isfinite().all()
    assert not rows.grad[0].any()


@pytest.mark.parametrize("scale", [1e-7, 1e19])
def test_the_scale_of_embeddings_does_not_matter(scale):
    rows, labels = batch(dtype=torch.float32)
    assert torch.allclose(sup_con_loss(rows * scale, labels), sup_con_loss(rows, labels))


def test_backward_inside_of_autocast_changes_nothing():
    gradients = []
    for enabled in (False, True):
        rows, labels = batch(dim=16, dtype=torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            sup_con_loss(rows.requires_grad_(), labels).backward()
        gradients.append(rows.grad)
    assert torch.equal(*gradients)
