from __future__ import annotations

import math

import pytest
import torch
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
