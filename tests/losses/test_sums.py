from __future__ import annotations

import pytest
import torch

from nnunet_fess.losses.sums import class_sums, sum_bins
from nnunet_fess.losses.target import parse_target


def test_sums_of_a_label_map_equal_those_of_one_hot_channels(small):
    logits, labels = small
    contour = torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) > 0.5
    weight = torch.rand(labels.shape, generator=torch.Generator().manual_seed(2))
    sums = class_sums(logits, parse_target(logits, labels), contour, weight)
    probability = logits.softmax(1)[:, 1:]
    truth = labels == torch.tensor([1, 2]).view(2, 1, 1, 1)
    space = (2, 3, 4)
    assert torch.allclose(sums.predicted, probability.sum(space))
    parts = [~contour, contour]
    assert torch.allclose(sums.hit, torch.stack([(probability * truth * part).sum(space) for part in parts], 1))
    assert torch.equal(sums.actual, torch.stack([(truth & part).sum(space) for part in parts], 1).double())
    entropy = torch.nn.functional.cross_entropy(logits, labels[:, 0].long(), reduction="none")
    assert torch.allclose(sums.cross_entropy, (entropy * weight[:, 0]).sum())
    assert sums.terms == labels.numel()


def test_cross_entropy_of_regions_counts_every_channel():
    logits = torch.randn(2, 3, 4, 4)
    regions = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    regions[:, -1, 0] = True
    sums = class_sums(logits, parse_target(logits, regions))
    assert sums.terms == 2 * 12 * 3


def test_all_ignored_has_no_terms_and_a_mean_of_0():
    logits = torch.randn(2, 3, 4, 4)
    sums = class_sums(logits, parse_target(logits, torch.full((2, 1, 4, 4), 5), 5))
    assert sums.terms == 0
    assert sums.mean_cross_entropy == 0
    assert not sums.predicted.any()


def test_long_sums_keep_their_digits():
    # A running float32 sum of 4 million numbers of this size would be wrong in the fourth digit.
    logits = torch.zeros(1, 2, 160, 160, 160)
    labels = torch.ones(1, 1, 160, 160, 160, dtype=torch.uint8)
    sums = class_sums(logits, parse_target(logits, labels))
    assert sums.hit.item() == pytest.approx(160**3 / 2, rel=1e-6)
    assert sums.cross_entropy.item() == pytest.approx(160**3 * 0.6931472, rel=1e-6)


def test_confident_mistakes_have_a_finite_cross_entropy():
    # log of a probability that underflows would be infinite.
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 0] = 500.0
    sums = class_sums(logits, parse_target(logits, torch.ones(1, 1, 4, 4)))
    assert sums.mean_cross_entropy == 500


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_both_ways_to_sum_bins_agree(dtype):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, 3)
    bins = torch.randint(0, 6, (2, 1, 500), generator=generator) + torch.tensor([0, 6]).view(2, 1, 1)
    bins[:, :, :20] = 12  # left out
    values = torch.randint(0, 9, (2, 1, 500), generator=generator).to(dtype)
    scattered, masked = (sum_bins(values, bins, shape, scatter) for scatter in (True, False))
    assert scattered.shape == shape
    assert scattered.dtype == dtype
    assert torch.equal(scattered, masked)
    assert scattered.sum() == values[:, :, 20:].sum()
