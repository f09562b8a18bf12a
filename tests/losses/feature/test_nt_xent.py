from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses.feature.largest_tensor import largest_tensor
from pytorch_metric_learning.losses import NTXentLoss
from torch.autograd import gradcheck

from nnunet_fess.losses import nt_xent_loss


def plain_loops(first, second, temperature, queue=None):
    """SimCLR's eq. 1, pair by pair."""
    views = [*first, *second]
    batch = len(first)

    def similar(a, b):
        return math.exp(float(torch.dot(a, b) / (a.norm() * b.norm())) / temperature)

    total = 0.0
    for i, view in enumerate(views):
        other = (i + batch) % (2 * batch)
        negatives = [v for n, v in enumerate(views) if n not in (i, other)] if queue is None else list(queue)
        positive = similar(view, views[other])
        total -= math.log(positive / (positive + sum(similar(view, n) for n in negatives)))
    return total / len(views)


def views(batch=3, dim=4, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, dim, dtype=dtype, generator=generator) for _ in range(2)]


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("queued", [0, 1, 5])
def test_equals_plain_loops(temperature, queued):
    first, second = views()
    queue = torch.randn(queued, 4, dtype=torch.float64) if queued else None
    expected = plain_loops(first, second, temperature, queue)
    assert nt_xent_loss(first, second, temperature, queue).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batch", [2, 5])
def test_closed_form_of_orthogonal_samples(batch):
    identical = torch.eye(batch, dtype=torch.float64)
    expected = math.log(math.e + 2 * (batch - 1)) - 1
    assert nt_xent_loss(identical, identical, temperature=1.0).item() == pytest.approx(expected, rel=1e-9)


def test_closed_form_with_a_queue_of_orthogonal_negatives():
    basis = torch.eye(6, dtype=torch.float64)
    loss = nt_xent_loss(basis[:2], basis[:2], temperature=1.0, queue=basis[2:])
    assert loss.item() == pytest.approx(math.log(math.e + 4) - 1, rel=1e-9)


@pytest.mark.parametrize("queued", [None, 0])
def test_without_negatives_there_is_nothing_to_learn(queued):
    first, second = (view[:1].requires_grad_() for view in views())
    loss = nt_xent_loss(first, second, queue=None if queued is None else torch.empty(0, 4, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0
    assert first.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_computes_in_float32(dtype):
    first, second = views(dtype=dtype)
    loss = nt_xent_loss(first, second)
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_autocast_changes_nothing():
    first, second = views(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = nt_xent_loss(first, second)
    assert torch.equal(inside, nt_xent_loss(first, second))


def test_gradcheck():
    first, second = (view.requires_grad_() for view in views(2))
    assert gradcheck(lambda a, b: nt_xent_loss(a, b, queue=torch.eye(4, dtype=torch.float64)), (first, second))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive. Got: 0.0"),
        ({"second": torch.ones(2, 4)}, r"same shape \(B, D\). Got: \(3, 4\) and \(2, 4\)"),
        ({"queue": torch.ones(2, 5)}, r"queue must be \(Q, 4\). Got: \(2, 5\)"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"first": torch.ones(3, 4), "second": torch.ones(3, 4)} | change
    with pytest.raises(ValueError, match=message):
        nt_xent_loss(**arguments)


def by_pytorch_metric_learning(first, second, temperature, queue=None):
    views = torch.cat([first, second])
    anchor = torch.arange(len(views))
    partner = anchor.roll(len(first))
    others = views if queue is None else torch.cat([views, queue])
    negative = torch.ones(len(views), len(others), dtype=torch.bool)
    if queue is None:
        negative[anchor, anchor] = negative[anchor, partner] = False
    else:
        negative[:, : len(views)] = False
    pairs = (anchor, partner, *negative.nonzero(as_tuple=True))
    return NTXentLoss(temperature)(views, indices_tuple=pairs, ref_emb=others)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("queued", [0, 1, 5])
def test_equals_pytorch_metric_learning(temperature, queued):
    first, second = views(4)
    queue = torch.randn(queued, 4, dtype=torch.float64) if queued else None
    found = nt_xent_loss(first, second, temperature, queue)
    assert torch.allclose(found, by_pytorch_metric_learning(first, second, temperature, queue))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 6),
    queued=st.integers(0, 5),
    temperature=st.sampled_from([1e-3, 0.02, 0.5, 20]),
)
def test_float32_has_value_and_gradient_of_float64(seed, batch, queued, temperature):
    first, second = views(batch, dtype=torch.float32, seed=seed)
    queue = torch.randn(queued, 4, generator=torch.Generator().manual_seed(seed)) if queued else None
    results = []
    for dtype in (torch.float32, torch.float64):
        x = first.to(dtype).requires_grad_()
        value = nt_xent_loss(x, second.to(dtype), temperature, None if queue is None else queue.to(dtype))
        results.append((value.double(), torch.autograd.grad(value, x)[0].double()))
    (value, gradient), (exact, exact_gradient) = results
    # Similarities have an error of 1e-7, which the temperature magnifies.
    assert torch.allclose(value, exact, rtol=1e-5 + 1e-6 / temperature, atol=1e-30)
    assert (gradient - exact_gradient).norm() <= (1e-5 + 1e-6 / temperature) * exact_gradient.norm() + 1e-30


def test_a_hard_pair_has_value_and_gradient_at_low_temperature():
    first = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    second = torch.tensor([[-0.98, 0.2], [0.3, -0.95]])
    loss = nt_xent_loss(first, second, 0.02)
    loss.backward()
    assert loss.item() == pytest.approx(plain_loops(first.detach().double(), second.double(), 0.02), rel=1e-5)
    assert first.grad.norm() > 1


@pytest.mark.parametrize("queued", [0, 400])
def test_memory_grows_with_rows_times_candidates(queued):
    first, second = views(50, 8, torch.float32)
    queue = torch.randn(queued, 8) if queued else None
    first.requires_grad_()
    assert largest_tensor(lambda: nt_xent_loss(first, second, 0.5, queue).backward()) <= 100 * (queued or 100)


def test_a_dead_embedding_is_similar_to_nothing():
    first, second = views(3, dtype=torch.float32)
    first[0] = 0
    loss = nt_xent_loss(first.requires_grad_(), second)
    loss.backward()
    assert loss.isfinite()
    assert first.grad.isfinite().all()
    assert not first.grad[0].any()


@pytest.mark.parametrize("scale", [1e-7, 1e19])
def test_the_scale_of_embeddings_does_not_matter(scale):
    first, second = views(3, dtype=torch.float32)
    assert torch.allclose(nt_xent_loss(first * scale, second), nt_xent_loss(first, second))


def test_backward_inside_of_autocast_changes_nothing():
    gradients = []
    for enabled in (False, True):
        first, second = views(3, 16, torch.float32)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            nt_xent_loss(first.requires_grad_(), second).backward()
        gradients.append(first.grad)
    assert torch.equal(*gradients)
