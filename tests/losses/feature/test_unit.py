from __future__ import annotations

import pytest
import torch

from nnunet_fess.losses.feature.unit import products, unit


@pytest.mark.parametrize("scale", [1e-37, 1e-7, 1.0, 1e19, 1e38])
def test_the_scale_of_a_vector_does_not_matter(scale):
    vectors = torch.tensor([[0.6, -0.8], [0.0, 1.0]])
    assert torch.allclose(unit(vectors * scale), vectors)


@pytest.mark.parametrize("scale", [1e-7, 1.0, 1e19])
def test_the_gradient_grows_as_the_vector_shrinks(scale):
    vectors = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scaled = (vectors.detach() * scale).requires_grad_()
    weight = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((unit(x) * weight).sum(), x)[0] for x in (vectors, scaled)]
    assert torch.allclose(gradients[1] * scale, gradients[0], rtol=1e-5, atol=1e-6)


def test_zeros_stay_zeros_without_gradient():
    vectors = torch.tensor([[0.0, 0.0], [1e-42, 0.0], [3.0, 4.0]], requires_grad=True)
    found = unit(vectors)
    found.sum().backward()
    assert torch.allclose(found, torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.6, 0.8]]))
    assert not vectors.grad[:2].any()
    assert vectors.grad.isfinite().all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_shows(bad):
    assert unit(torch.tensor([[bad, 1.0]])).isnan().any()


def test_gradcheck():
    vectors = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit, vectors)
    assert torch.autograd.gradgradcheck(lambda x: products(unit(x), unit(x.flip(0))), vectors)


def test_products_and_their_gradients_keep_float32_inside_of_autocast():
    first, second = (torch.randn(3, 5, requires_grad=True) for _ in range(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = products(first, second)
        found.square().sum().backward()
    gradients = first.grad.clone(), second.grad.clone()
    first.grad = second.grad = None
    expected = first @ second.T
    expected.square().sum().backward()
    assert torch.equal(found, expected)
    assert torch.equal(gradients[0], first.grad)
    assert torch.equal(gradients[1], second.grad)
