"""Focal, weighted, hardest-voxel and Tversky losses, and the sums: closed forms."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nnunet_fess.losses import (
    CrossEntropyLoss,
    DiceFocalLoss,
    DiceLoss,
    DiceTopKLoss,
    FocalLoss,
    FocalTverskyLoss,
    GDLFocalLoss,
    GDLoss,
    TopKLoss,
    TverskyLoss,
    WeightedCrossEntropyLoss,
)


def test_focal_without_gamma_is_cross_entropy(small):
    assert torch.allclose(FocalLoss(0)(*small), CrossEntropyLoss()(*small))


def test_focal_of_two_classes_by_hand():
    logits = torch.tensor([0.0, 2.0]).view(1, 2, 1, 1)
    p = torch.sigmoid(torch.tensor(2.0))
    assert FocalLoss(3.0)(logits, torch.ones(1, 1, 1, 1)).item() == pytest.approx(float(-((1 - p) ** 3) * p.log()), rel=1e-5)


def test_weighted_cross_entropy_is_torchs(small):
    logits, labels = small
    expected = F.cross_entropy(logits, labels[:, 0].long(), weight=torch.tensor([1.0, 5.0, 0.5], dtype=torch.double))
    assert torch.allclose(WeightedCrossEntropyLoss((1.0, 5.0, 0.5))(logits, labels), expected)


def test_balanced_cross_entropy_is_the_mean_over_classes(small):
    logits, labels = small
    each = F.cross_entropy(logits, labels[:, 0].long(), reduction="none")
    expected = torch.stack([each[labels[:, 0] == j].mean() for j in range(3)]).mean()
    assert WeightedCrossEntropyLoss()(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("k", [10.0, 50.0, 100.0])
def test_top_k_is_the_mean_of_the_hardest(small, k):
    logits, labels = small
    labels = labels.clone()
    labels[:, :, 0] = 9
    each = F.cross_entropy(logits, labels[:, 0].long(), reduction="none", ignore_index=9)[labels[:, 0] != 9]
    expected = each.sort(descending=True).values[: -(-len(each) * int(k) // 100)].mean()
    assert TopKLoss(k, ignore_label=9)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


def test_even_tversky_is_dice(small):
    assert torch.allclose(TverskyLoss(0.5, 0.5, smooth=1e-6)(*small), DiceLoss(smooth=2e-6)(*small))


def test_tversky_and_its_focal_form_by_hand(small):
    logits, labels = small
    p, g = logits.softmax(1)[:, 1:], F.one_hot(labels[:, 0].long(), 3).movedim(-1, 1)[:, 1:]
    hit, false, missed = ((x).sum((2, 3, 4)) for x in (p * g, p * (1 - g), (1 - p) * g))
    index = (hit + 1e-5) / (hit + 0.2 * false + 0.8 * missed + 1e-5)
    assert torch.allclose(TverskyLoss(0.2, 0.8)(*small), (1 - index).mean())
    assert torch.allclose(FocalTverskyLoss(0.2, 0.8, gamma=2.0)(*small), (1 - index).sqrt().mean())


@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        (DiceTopKLoss(20.0, batch_dice=True), (DiceLoss(batch_dice=True), TopKLoss(20.0))),
        (DiceFocalLoss(3.0), (DiceLoss(), FocalLoss(3.0))),
        (GDLFocalLoss(), (GDLoss(), FocalLoss())),
    ],
)
def test_a_sum_is_the_sum_of_its_parts(small, whole, parts):
    assert torch.allclose(whole(*small), sum(part(*small) for part in parts))
    assert len(whole.latest) == 2


@pytest.mark.parametrize(
    ("make", "options", "found"),
    [
        (FocalLoss, {"gamma": 0.5}, "gamma.*Got: 0.5"),
        (TopKLoss, {"k": 0}, "k must.*Got: 0"),
        (TverskyLoss, {"alpha": 0}, "alpha and beta.*Got: 0"),
        (FocalTverskyLoss, {"gamma": 0}, "gamma.*Got: 0"),
        (WeightedCrossEntropyLoss, {"class_weights": (1.0, 0.0)}, "class_weights.*Got"),
    ],
)
def test_ill_options_are_refused(make, options, found):
    with pytest.raises(ValueError, match=found):
        make(**options)


def test_weights_of_another_number_of_classes_are_refused(small):
    with pytest.raises(ValueError, match=r"3 class_weights\. Got: 2"):
        WeightedCrossEntropyLoss((1.0, 2.0))(*small)
