from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

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
    assert torch.allclose(sums.missed, torch.stack([((1 - probability) * truth * part).sum(space) for part in parts], 1))
    assert torch.allclose(sums.false, (probability * ~truth).sum(space))
    assert torch.equal(sums.actual, torch.stack([(truth & part).sum(space) for part in parts], 1).double())
    entropy = torch.nn.functional.cross_entropy(logits, labels[:, 0].long(), reduction="none")[:, None]
    assert torch.allclose(sums.cross_entropy, torch.stack([(entropy * weight * part).sum() for part in parts]))
    assert sums.summands == labels.numel()


def test_cross_entropy_of_regions_counts_every_channel():
    logits = torch.randn(2, 3, 4, 4)
    regions = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    regions[:, -1, 0] = True
    sums = class_sums(logits, parse_target(logits, regions))
    assert sums.summands == 2 * 12 * 3


def test_all_ignored_has_no_terms_and_a_mean_of_0():
    logits = torch.randn(2, 3, 4, 4)
    sums = class_sums(logits, parse_target(logits, torch.full((2, 1, 4, 4), 5), 5))
    assert sums.summands == 0
    assert sums.mean_cross_entropy == 0
    assert not sums.predicted.any()


def test_long_sums_keep_their_digits():
    # A running float32 sum of 4 million numbers of this size would be wrong in the fourth digit.
    logits = torch.zeros(1, 2, 160, 160, 160)
    labels = torch.ones(1, 1, 160, 160, 160, dtype=torch.uint8)
    sums = class_sums(logits, parse_target(logits, labels))
    assert sums.hit.item() == pytest.approx(160**3 / 2, rel=1e-6)
    assert sums.missed.item() == pytest.approx(160**3 / 2, rel=1e-6)
    assert sums.cross_entropy.item() == pytest.approx(160**3 * 0.6931472, rel=1e-6)


def test_confident_mistakes_have_a_finite_cross_entropy():
    # log of a probability that underflows would be infinite.
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 0] = 500.0
    sums = class_sums(logits, parse_target(logits, torch.ones(1, 1, 4, 4)))
    assert sums.mean_cross_entropy == 500


def test_one_confident_mistake_changes_nothing_elsewhere():
    # Its probability underflows, so that all logarithms are taken the other way.
    logits, labels = torch.randn(1, 3, 5, 5), torch.randint(0, 3, (1, 1, 5, 5))
    before = class_sums(logits, parse_target(logits, labels))
    more, more_labels = torch.nn.functional.pad(logits, (0, 1)), torch.nn.functional.pad(labels, (0, 1))
    more[0, 2, 0, 5] = 300.0
    after = class_sums(more, parse_target(more, more_labels))
    # The column of padding: knowing nothing at four voxels, and 300 at the fifth.
    assert after.cross_entropy.item() == pytest.approx(before.cross_entropy.item() + 4 * math.log(3) + 300)
    assert torch.allclose(after.hit, before.hit)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_both_ways_to_sum_bins_agree(dtype):
    generator = torch.Generator().manual_seed(0)
    bins = torch.randint(0, 6, (1, 500), generator=generator).to(torch.uint8)
    bins[:, :20] = 6  # left out
    values = torch.randint(0, 9, (1, 500), generator=generator).to(dtype)
    counted, masked = sum_bins(values, bins, 6), sum_bins(values[None], bins[None], 6)
    assert torch.equal(counted.to(dtype), masked[0])
    assert counted.sum() == values[:, 20:].sum()


# --- label maps, left to autograd


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("kind", ["plain", "contour", "weight", "phi", "ignore", "all"])
def test_sums_of_labels_and_their_gradients_equal_those_of_autograd(channels, kind):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 1, 4, 5, 3)
    logits = 3 * torch.randn(2, channels, *shape[2:], generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    labels = torch.randint(0, channels, shape, generator=generator)
    contour = torch.rand(shape, generator=generator) > 0.5 if kind in ("contour", "all") else None
    weight = torch.rand(shape, generator=generator, dtype=torch.float64) if kind in ("weight", "all") else None
    phi = torch.randn(logits.shape, generator=generator, dtype=torch.float64) if kind in ("phi", "all") else None
    ignored = torch.rand(shape, generator=generator) < 0.3 * (kind in ("ignore", "all"))
    sums = class_sums(logits, parse_target(logits, labels.masked_fill(ignored, 9), 9), contour, weight, phi)
    found = [x for x in (*sums[:4], sums.mapped) if x is not None]

    counted = (~ignored).double()
    probability = logits.softmax(1)
    truth = (labels == torch.arange(channels).view(-1, 1, 1, 1)).double() * counted
    parts = [torch.ones_like(counted)] if contour is None else [1.0 - contour.double(), contour.double()]
    space = (2, 3, 4)
    entropy = -(logits.log_softmax(1) * truth).sum(1, keepdim=True) * (1 if weight is None else weight)
    expected = [
        torch.stack([(probability * truth * part).sum(space)[:, 1:] for part in parts], 1),
        torch.stack([((1 - probability) * truth * part).sum(space)[:, 1:] for part in parts], 1),
        (probability * (counted - truth)).sum(space)[:, 1:],
        torch.stack([(entropy * part).sum() for part in parts]),
    ]
    if phi is not None:
        expected.append((probability * counted * phi).sum(space))
    gradients = []
    for values in (found, expected):
        total = sum((x * torch.arange(1.0, 1 + x.numel()).view_as(x)).sum() for x in values)
        gradients.append(torch.autograd.grad(total, logits)[0])
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12)
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("channels", [2, 4])
def test_what_is_not_wanted_is_not_a_number(channels):
    logits = torch.randn(1, channels, 4, 4)
    target = parse_target(logits, torch.ones(1, 1, 4, 4))
    assert class_sums(logits, target, entropy=False).cross_entropy.isnan().all()
    assert class_sums(logits, target, overlap=False).hit.isnan().all()
    assert class_sums(logits, target, entropy=False).hit.isfinite().all()


# --- regions


def plain_sums(logits, regions, valid, contour, weight, phi=None):
    """The sums of regions, left to autograd: hit, missed, false, cross entropy, mapped."""
    counted = torch.ones_like(logits) if valid is None else valid.to(logits.dtype).expand_as(logits)
    probability, truth = logits.sigmoid() * counted, regions.to(logits.dtype) * counted
    parts = [torch.ones_like(truth)] if contour is None else [~contour, contour]
    space = tuple(range(2, logits.ndim))
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none") * counted
    entropy = entropy if weight is None else entropy * weight
    return (
        torch.stack([(probability * truth * part).sum(space) for part in parts], 1),
        torch.stack([((counted - probability) * truth * part).sum(space) for part in parts], 1),
        (probability * (counted - truth)).sum(space),
        torch.stack([(entropy * part).sum() for part in parts]),
        None if phi is None else (probability * phi).sum(space),
    )


@pytest.fixture(params=["plain", "contour", "weight", "one weight", "ignore", "phi", "all"])
def regions_case(request):
    """Float64 logits and regions (2, 3, 4, 5, 3) whose last is empty; valid, contour, weight, phi or None."""
    generator = torch.Generator().manual_seed(0)
    shape, kind = (2, 3, 4, 5, 3), request.param
    logits = 3 * torch.randn(shape, generator=generator, dtype=torch.float64)
    regions = torch.rand(shape, generator=generator) > 0.5
    regions[:, -1] = False
    valid = torch.rand(2, 1, 4, 5, 3, generator=generator) > 0.3 if kind in ("ignore", "all") else None
    contour = torch.rand(shape, generator=generator) > 0.5 if kind in ("contour", "all") else None
    channels = {"weight": 3, "one weight": 1, "all": 3}.get(kind)
    weight = None if channels is None else torch.rand(2, channels, 4, 5, 3, generator=generator, dtype=torch.float64)
    phi = torch.randn(shape, generator=generator, dtype=torch.float64) if kind in ("phi", "all") else None
    return logits.requires_grad_(), regions, valid, contour, weight, phi


def sums_of_regions(logits, regions, valid, contour, weight, phi=None):
    """hit, missed, false, cross entropy, and mapped if φ is given."""
    flags = regions if valid is None else torch.cat((regions, ~valid), 1)
    sums = class_sums(logits, parse_target(logits, flags), contour, weight, phi)
    return [x for x in (*sums[:4], sums.mapped) if x is not None]


def test_sums_of_regions_and_their_gradients_equal_those_of_autograd(regions_case):
    logits = regions_case[0]
    found, expected = sums_of_regions(*regions_case), [x for x in plain_sums(*regions_case) if x is not None]
    gradients = []
    for sums in (found, expected):
        # Another upstream gradient for every number.
        total = sum((x * torch.arange(1.0, 1 + x.numel()).view_as(x)).sum() for x in sums)
        gradients.append(torch.autograd.grad(total, logits)[0])
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == torch.float64
        assert torch.allclose(ours, theirs, rtol=1e-12)
    assert torch.allclose(*gradients, rtol=1e-12)


def test_gradient_of_regions(regions_case):
    logits, *others = regions_case
    for number in range(4 + (others[-1] is not None)):
        assert torch.autograd.gradcheck(lambda x, n=number: sums_of_regions(x, *others)[n], logits, fast_mode=True)


def test_backward_of_regions_may_run_twice(regions_case):
    logits = regions_case[0]
    total = sum(x.sum() for x in sums_of_regions(*regions_case))
    (first,) = torch.autograd.grad(total, logits, retain_graph=True)
    assert torch.equal(first, torch.autograd.grad(total, logits)[0])


def test_confident_mistakes_about_regions_have_a_finite_cross_entropy():
    logits = torch.tensor([500.0, -500.0, 30.0, -30.0]).view(1, 1, 2, 2).requires_grad_()
    wrong = class_sums(logits, parse_target(logits, torch.tensor([0, 1, 0, 1]).view(1, 1, 2, 2))).cross_entropy
    assert wrong == 1060
    (gradient,) = torch.autograd.grad(wrong, logits)
    assert gradient.flatten().tolist() == [1, -1, 1, -1]


def test_confident_truths_about_regions_keep_their_small_cross_entropy():
    # The gradient of float32 probabilities is 0 here, but the value must not be.
    logits = torch.full((1, 1, 2, 2), 20.0)
    sums = class_sums(logits, parse_target(logits, torch.ones(1, 1, 2, 2)))
    assert sums.mean_cross_entropy.item() == pytest.approx(math.exp(-20), rel=1e-5)


def test_float32_sums_of_a_million_voxels_of_regions_have_five_digits():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 2, 100, 100, 100, generator=generator) - 3
    regions = torch.rand(logits.shape, generator=generator) > 0.9
    contour, weight = regions.roll(1, 2), torch.rand(logits.shape, generator=generator)
    found = sums_of_regions(logits, regions, None, contour, weight)
    for ours, exact in zip(found, plain_sums(logits.double(), regions, None, contour, weight)[:4], strict=True):
        assert torch.allclose(ours.double(), exact, rtol=1e-6)
