"""float32 against float64, where a prediction is confident: every loss keeps value and gradient."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from losses.every_loss import every_loss

from nnunet_fess.losses import CWCDLoss, SeparableDiceLoss

LOSSES = every_loss()
# Where half of a ball is filled its soft threshold has a kink: the gradient jumps with the last digit, in any precision.
KINKED = ("HausdorffCVLoss",)


def almost_all_rim(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A small cube that a wide rim swallows, and a confident prediction: sums that were nearly equal were subtracted here."""
    torch.manual_seed(seed)
    target = torch.zeros(1, 1, 24, 24, 24)
    target[..., 8:12, 8:13, 8:13] = 1
    logits = torch.where(target == 1, torch.randn(target.shape) + 2, -25.0)
    return torch.cat([0 * logits, logits], 1), target


def both(loss, logits, target):
    """Value and gradient in float32 and in float64."""
    found = []
    for dtype in (torch.float32, torch.float64):
        x = logits.to(dtype).requires_grad_()
        value = loss(x, target)
        found.append((value.item(), torch.autograd.grad(value, x)[0].double().flatten()))
    return found


@pytest.mark.parametrize(("make", "expected"), [(SeparableDiceLoss, 0.0441), (CWCDLoss, 0.0473)])
def test_a_class_that_is_all_rim_has_the_value_of_float64(make, expected):
    (value, gradient), (exact, exact_gradient) = both(make(), *almost_all_rim(28))
    assert exact == pytest.approx(expected, abs=1e-3)
    assert value == pytest.approx(exact, rel=1e-5)
    assert (gradient - exact_gradient).norm() < 1e-4 * exact_gradient.norm()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("convention", ["paper", "released"])
@pytest.mark.parametrize("seed", range(5))
def test_no_loss_with_a_rim_is_negative(seed, convention, channels):
    logits, target = almost_all_rim(seed)
    if channels == 1:
        logits = logits[:, 1:]
    if channels == 3:
        logits = torch.cat((logits, logits[:, 1:] - 3), 1)
    for make in (SeparableDiceLoss, CWCDLoss):
        (value, gradient), (exact, exact_gradient) = both(make(convention=convention), logits, target)
        assert value >= 0
        assert value == pytest.approx(exact, rel=1e-5)
        assert torch.cosine_similarity(gradient, exact_gradient, dim=0) > 1 - 1e-6
        assert (gradient - exact_gradient).norm() < 1e-4 * exact_gradient.norm()


@pytest.mark.parametrize("name", LOSSES)
@settings(deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    confidence=st.sampled_from([1.0, 10.0, 25.0, 60.0]),
    mistakes=st.sampled_from([0.0, 0.02, 0.5]),
    kind=st.sampled_from(["2 labels", "3 labels", "5 labels", "regions", "binary"]),
)
@example(seed=0, confidence=25.0, mistakes=0.5, kind="3 labels")
@example(seed=0, confidence=25.0, mistakes=0.5, kind="regions")
@example(seed=0, confidence=25.0, mistakes=0.0, kind="2 labels")
def test_confident_predictions_keep_value_and_gradient(name, seed, confidence, mistakes, kind):
    generator = torch.Generator().manual_seed(seed)
    shape = (1, 1, 6, 6, 6)
    if kind == "regions":
        target = torch.rand(1, 3, 6, 6, 6, generator=generator) > 0.7
        logits = torch.where(target, 1.0, -1.0)
    else:
        number = 2 if kind == "binary" else int(kind[0])
        target = torch.randint(0, number, shape, generator=generator)
        logits = torch.nn.functional.one_hot(target[:, 0], number).movedim(-1, 1).float()
        logits = 2 * logits[:, 1:] - 1 if kind == "binary" else logits
    flipped = torch.rand(shape, generator=generator) < mistakes
    logits = torch.where(flipped, logits.roll(1, 1) if logits.shape[1] > 1 else -logits, logits)
    logits = confidence * logits + torch.randn(logits.shape, generator=generator)
    (value, gradient), (exact, exact_gradient) = both(LOSSES[name](), logits, target)
    assert value >= 0
    assert value == pytest.approx(exact, rel=1e-4, abs=1e-30)
    assert gradient.isfinite().all()
    if exact_gradient.norm() > 1e-30 and name not in KINKED:
        assert (
            torch.cosine_similarity(gradient / exact_gradient.norm(), exact_gradient / exact_gradient.norm(), dim=0) > 1 - 1e-5
        )
        assert gradient.norm().item() == pytest.approx(exact_gradient.norm().item(), rel=1e-3)
