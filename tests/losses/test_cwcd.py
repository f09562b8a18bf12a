from __future__ import annotations

import pytest
import torch

from nnunet_fess.losses import ContourWeightedCrossEntropyLoss, CWCDLoss, SeparableDiceLoss

CONTOURS = {
    "voxels": {"iterations": 1},
    "released": {"iterations": 1, "convention": "released"},
    "mm": {"thickness_mm": 2.0, "spacing": (2.0, 2.0, 1.0)},
    "deep supervision": {"thickness_mm": 2.0, "spacing": (1.0, 1.0, 0.5), "patch_size": (10, 8, 12)},
    "adaptive": {"iterations": 3, "adaptive": True},
}


@pytest.mark.parametrize("contour", CONTOURS.values(), ids=CONTOURS)
def test_is_the_sum_of_its_parts(small, contour):
    cross_entropy = ContourWeightedCrossEntropyLoss(3.0, **contour)
    dice = SeparableDiceLoss(0.3, batch_dice=True, **contour)
    expected = cross_entropy(*small) + dice(*small)
    assert torch.allclose(CWCDLoss(3.0, 0.3, batch_dice=True, **contour)(*small), expected)


def test_deep_supervision_scales_have_a_rim_of_the_same_length(small):
    logits, labels = small
    whole = {"thickness_mm": 4.0, "spacing": (1.0, 1.0, 1.0)}
    half = {"thickness_mm": 4.0, "spacing": (2.0, 2.0, 2.0)}
    loss = CWCDLoss(**whole, patch_size=[2 * n for n in labels.shape[2:]])
    assert torch.equal(loss(logits, labels), CWCDLoss(**half)(logits, labels))


@pytest.mark.parametrize("case", ["0n1_", "0n2_", "1n1_", "1n2_", "2n1_", "2n2_", "3n1_", "3n2_"])
def test_released_equals_the_authors(golden, case):
    values = golden("cwcd")
    loss = CWCDLoss(iterations=int(values[case + "iterations"]), convention="released")
    value = loss(torch.from_numpy(values[case + "logits"]), torch.from_numpy(values[case + "labels"])[:, None])
    assert value.item() == pytest.approx(values[case + "cwcd"], rel=1e-5)
