from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from losses.plain_loops import weighted_cross_entropy

from nnunet_fess.losses import CrossEntropyLoss


def test_equals_plain_loops(small):
    logits, labels = small
    each = [weighted_cross_entropy(x, y[0], np.ones(y[0].shape)) for x, y in zip(*(t.numpy() for t in small), strict=True)]
    assert CrossEntropyLoss()(logits, labels).item() == pytest.approx(np.mean(each))


def test_equals_torchs_with_ignored_voxels(small):
    logits, labels = small
    labels[:, :, 2] = 7
    expected = F.cross_entropy(logits, labels[:, 0].long(), ignore_index=7)
    assert torch.allclose(CrossEntropyLoss(ignore_label=7)(logits, labels), expected)


def test_regions_equal_torchs_binary_cross_entropy():
    logits, regions = torch.randn(2, 3, 5, 5), torch.rand(2, 3, 5, 5) > 0.5
    expected = F.binary_cross_entropy_with_logits(logits, regions.float())
    assert torch.allclose(CrossEntropyLoss()(logits, regions), expected)


@pytest.mark.parametrize("classes", [2, 5])
def test_knowing_nothing_costs_log_c(classes):
    loss = CrossEntropyLoss()(torch.zeros(1, classes, 4, 4), torch.ones(1, 1, 4, 4))
    assert loss.item() == pytest.approx(math.log(classes))


@pytest.mark.parametrize("case", ["0n1_", "0n2_", "1n1_", "1n2_", "2n1_", "2n2_", "3n1_", "3n2_"])
def test_equals_the_authors(golden, case):
    values = golden("cwcd")
    logits, labels = torch.from_numpy(values[case + "logits"]), torch.from_numpy(values[case + "labels"])[:, None]
    assert CrossEntropyLoss()(logits, labels).item() == pytest.approx(values[case + "ce"], rel=1e-5)
