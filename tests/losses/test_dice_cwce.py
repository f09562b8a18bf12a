from __future__ import annotations

import math

import pytest
import torch

from nnunet_fess.losses import ContourWeightedCrossEntropyLoss, DiceCELoss, DiceCWCELoss, DiceLoss

CONTOURS = {
    "voxels": {"iterations": 1},
    "mm": {"thickness_mm": 2.0, "spacing": (2.0, 2.0, 1.0)},
    "adaptive": {"iterations": 3, "adaptive": True},
}


@pytest.mark.parametrize("contour", CONTOURS.values(), ids=CONTOURS)
def test_is_the_sum_of_its_parts(small, contour):
    expected = ContourWeightedCrossEntropyLoss(3.0, **contour)(*small) + DiceLoss(batch_dice=True)(*small)
    assert torch.allclose(DiceCWCELoss(3.0, batch_dice=True, **contour)(*small), expected)


def test_released_is_the_sum_of_the_released_parts(small):
    released = {"iterations": 1, "convention": "released"}
    expected = ContourWeightedCrossEntropyLoss(**released)(*small) + DiceLoss("released", smooth=1e-3)(*small)
    assert torch.allclose(DiceCWCELoss(**released)(*small), expected)


def test_without_a_weight_it_is_dice_and_cross_entropy(small):
    assert torch.allclose(DiceCWCELoss(0.0, iterations=1)(*small), DiceCELoss()(*small))


def test_closed_form():
    # 8 voxels in a row, half of them class 1, every p ½, the two at the border are contour: Dice = 2·2 / (4 + 4), CE = ln 2
    labels = torch.tensor([[[[0, 0, 0, 0, 1, 1, 1, 1]]]])
    value = DiceCWCELoss(2.0, iterations=1)(torch.zeros(1, 2, 1, 8), labels)
    assert value.item() == pytest.approx(0.5 + math.log(2) * (8 + 2 * 2) / 8, abs=1e-5)
