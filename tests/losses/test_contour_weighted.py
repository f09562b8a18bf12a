from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from losses.plain_loops import own_contour, weighted_cross_entropy

from nnunet_fess.losses import ContourWeightedCrossEntropyLoss, CrossEntropyLoss, contour_map


def test_paper_equals_plain_loops(small):
    each = [
        weighted_cross_entropy(x, y[0], 1 + 3.0 * own_contour(y[0], 1, False))
        for x, y in zip(*(t.numpy() for t in small), strict=True)
    ]
    assert ContourWeightedCrossEntropyLoss(3.0, iterations=1)(*small).item() == pytest.approx(np.mean(each))


def test_released_equals_plain_loops(small):
    each = [
        weighted_cross_entropy(x, y[0], 1 + 2.0 * own_contour(y[0], 1, True))
        + weighted_cross_entropy(x, y[0], np.ones(y[0].shape))
        for x, y in zip(*(t.numpy() for t in small), strict=True)
    ]
    loss = ContourWeightedCrossEntropyLoss(iterations=1, convention="released")
    assert loss(*small).item() == pytest.approx(np.mean(each))


def test_regions_are_weighted_by_their_own_contours():
    logits, regions = torch.randn(2, 3, 9, 9), torch.zeros(2, 3, 9, 9, dtype=torch.bool)
    regions[:, 0, 2:7], regions[:, 1, 3:] = True, True
    weight = 1 + 2 * contour_map(regions, 1).float()
    expected = F.binary_cross_entropy_with_logits(logits, regions.float(), weight=weight)
    assert torch.allclose(ContourWeightedCrossEntropyLoss(iterations=1)(logits, regions), expected)


def test_a_weight_of_0_is_plain_cross_entropy(small):
    assert torch.allclose(ContourWeightedCrossEntropyLoss(0.0)(*small), CrossEntropyLoss()(*small))


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match=r"contour_weight must not be negative. Got: -1"):
        ContourWeightedCrossEntropyLoss(-1)


@pytest.mark.parametrize("case", ["0n1_", "0n2_", "1n1_", "1n2_", "2n1_", "2n2_", "3n1_", "3n2_"])
def test_released_equals_the_authors_value_and_gradient(golden, case):
    values = golden("cwcd")
    logits = torch.from_numpy(values[case + "logits"]).requires_grad_()
    loss = ContourWeightedCrossEntropyLoss(iterations=int(values[case + "iterations"]), convention="released")
    value = loss(logits, torch.from_numpy(values[case + "labels"])[:, None])
    value.backward()
    assert value.item() == pytest.approx(values[case + "cwce"], rel=1e-5)
    assert logits.grad.norm().item() == pytest.approx(values[case + "cwce_grad_norm"], rel=1e-5)
