from __future__ import annotations

import numpy as np
import pytest
import torch
from losses.plain_loops import released_separable_dice, separable_dice

from nnunet_fess.losses import DiceLoss, SeparableDiceLoss


@pytest.mark.parametrize("contour_fraction", [0.0, 0.3, 1.0])
def test_paper_equals_plain_loops(small, contour_fraction):
    each = [separable_dice(x, y[0], 1, contour_fraction, 0.01) for x, y in zip(*(t.numpy() for t in small), strict=True)]
    loss = SeparableDiceLoss(contour_fraction, iterations=1, smooth=0.01)
    assert loss(*small).item() == pytest.approx(np.mean(each))


def test_released_equals_plain_loops(small):
    expected = released_separable_dice(*(x.squeeze(1).numpy() for x in small), 1, 1e-3)
    assert SeparableDiceLoss(iterations=1, convention="released")(*small).item() == pytest.approx(expected)


def test_released_takes_the_authors_smooth_unless_told():
    assert SeparableDiceLoss(convention="released").smooth == 1e-3
    assert SeparableDiceLoss(convention="released", smooth=0.5).smooth == 0.5
    assert SeparableDiceLoss().smooth == 1e-5


def test_without_any_contour_the_rest_is_plain_dice():
    logits, labels = torch.randn(1, 2, 6, 6), torch.ones(1, 1, 6, 6)
    assert torch.allclose(SeparableDiceLoss(0.0)(logits, labels), DiceLoss()(logits, labels))


def predicted_too_much(**options) -> torch.Tensor:
    """Gradient at a false positive far from a 5³ organ, for logits that know the organ."""
    labels = torch.zeros(1, 1, 24, 24, 24)
    labels[..., 4:9, 4:9, 4:9] = 1
    logits = torch.cat((torch.zeros_like(labels), 8 * (2 * labels - 1)), 1)
    logits[:, 1, 20, 20, 20] = 0.0
    logits.requires_grad_()
    SeparableDiceLoss(iterations=6, **options)(logits, labels).backward()
    return logits.grad[0, 1, 20, 20, 20]


def test_a_rim_that_swallows_the_organ_leaves_false_positives_free_of_charge_and_the_adaptive_does_not():
    # Without a core, L_nc of the class is 1 - ε / (Σp + ε): constant.
    assert predicted_too_much() < 1e-5
    assert predicted_too_much(adaptive=True) > 1e-3


@pytest.mark.parametrize("contour_fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(contour_fraction):
    with pytest.raises(ValueError, match="contour_fraction must be between 0 and 1"):
        SeparableDiceLoss(contour_fraction)


@pytest.mark.parametrize("case", ["0n1_", "0n2_", "1n1_", "1n2_", "2n1_", "2n2_", "3n1_", "3n2_"])
def test_released_equals_the_authors_value_and_gradient(golden, case):
    values = golden("cwcd")
    logits = torch.from_numpy(values[case + "logits"]).requires_grad_()
    loss = SeparableDiceLoss(iterations=int(values[case + "iterations"]), convention="released")
    value = loss(logits, torch.from_numpy(values[case + "labels"])[:, None])
    value.backward()
    assert value.item() == pytest.approx(values[case + "sdl"], rel=1e-5)
    assert logits.grad.norm().item() == pytest.approx(values[case + "sdl_grad_norm"], rel=1e-5)
