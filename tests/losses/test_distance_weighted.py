from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from losses.plain_loops import voxels, weighted_cross_entropy

from nnunet_fess.losses import CrossEntropyLoss, DistanceWeightedCrossEntropyLoss


def plain_map(labels: np.ndarray, number: int, w0: float, sigma: float, share: np.ndarray) -> np.ndarray:
    """The U-Net paper's equation 2 for one sample, distances by comparing every voxel with every voxel."""
    weight = np.zeros(labels.shape)
    for i in voxels(labels.shape):
        distances = [
            min((math.dist(i, j) for j in voxels(labels.shape) if labels[j] == k), default=math.inf) for k in range(1, number)
        ]
        first, second = sorted(distances)[:2]
        weight[i] = share[labels[i]] + w0 * math.exp(-((first + second) ** 2) / (2 * sigma**2))
    return weight


def test_equals_plain_loops(small):
    logits, labels = (x[..., ::2].contiguous() for x in small)
    count = np.bincount(labels.flatten(), minlength=3)
    share = labels.numel() / (3 * count)
    each = [
        weighted_cross_entropy(x, y[0], plain_map(y[0], 3, 7.0, 1.5, share))
        for x, y in zip(logits.numpy(), labels.numpy(), strict=True)
    ]
    loss = DistanceWeightedCrossEntropyLoss(7.0, 1.5)(logits, labels)
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-5)


def test_one_class_has_no_neighbour(small):
    logits, labels = small[0][:, :2], small[1] > 0
    loss = DistanceWeightedCrossEntropyLoss(balance=False)
    assert torch.allclose(loss(logits, labels), CrossEntropyLoss()(logits, labels))


def test_balance_gives_every_class_present_the_same_share():
    logits, labels = torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 8, 8)
    labels[..., 0, :3] = 2
    logits[:, 2] = 1.0
    each = [CrossEntropyLoss(ignore_label=ignored)(logits, labels) for ignored in (2, 0)]
    loss = DistanceWeightedCrossEntropyLoss(w0=0.0)(logits, labels)
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-6)


def test_sigma_is_a_length_on_every_scale():
    logits, labels = torch.randn(1, 3, 9, 9), torch.zeros(1, 1, 9, 9)
    labels[..., :2], labels[..., 6:] = 1, 2
    voxels_of_2 = DistanceWeightedCrossEntropyLoss(sigma=4.0, spacing=(2.0, 2.0))
    halved = DistanceWeightedCrossEntropyLoss(sigma=4.0, spacing=(1.0, 1.0), patch_size=(18, 18))
    expected = DistanceWeightedCrossEntropyLoss(sigma=2.0)(logits, labels)
    assert torch.allclose(voxels_of_2(logits, labels), expected)
    assert torch.allclose(halved(logits, labels), expected)


@pytest.mark.parametrize(("options", "found"), [({"w0": -1}, "w0.*Got: -1"), ({"sigma": 0}, "sigma.*Got: 0")])
def test_ill_options_are_refused(options, found):
    with pytest.raises(ValueError, match=found):
        DistanceWeightedCrossEntropyLoss(**options)
