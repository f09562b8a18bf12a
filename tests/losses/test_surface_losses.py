"""Generalised surface, fuzzy-rough and Hausdorff losses against their equations written out, and at their edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

from nnunet_fess.losses import (
    FuzzyRoughLoss,
    GeneralizedSurfaceLoss,
    HausdorffCVLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    HausdorffOSLoss,
)
from nnunet_fess.losses.maps.region_wise import half_diagonal


@pytest.fixture
def case(small):
    """Probabilities, one-hot truth and scipy's signed distances of the small example, all float64; all classes are there."""
    logits, labels = small
    labels = labels.clone()
    labels[1, 0, 3:, 3:, 4:] = 1
    truth = F.one_hot(labels[:, 0].long(), 3).movedim(-1, 1).double()
    signed = np.stack([[distance_transform_edt(g == 0) - distance_transform_edt(g) for g in y] for y in truth.numpy()])
    return logits, labels, logits.softmax(1), truth, torch.from_numpy(signed)


def test_generalised_surface_loss(case):
    logits, labels, p, g, d = (x[:, 1:] if i > 1 else x for i, x in enumerate(case))
    weight = 1 / g.sum((2, 3, 4)).square()
    above = (weight * (d * (1 - (g + p))).square().sum((2, 3, 4))).sum(1)
    below = (weight * d.square().sum((2, 3, 4))).sum(1)
    assert GeneralizedSurfaceLoss()(logits, labels).item() == pytest.approx((1 - above / below).mean().item(), rel=1e-6)


def test_fuzzy_rough(case):
    logits, labels, p, g, d = case
    field = 1 - torch.exp(-d.square() / 2.0)
    expected = ((p - g).square() * field).sum() / field.count_nonzero()
    assert FuzzyRoughLoss(alpha=2.0)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("one_sided", [True, False])
def test_hausdorff_by_distance_transforms(case, one_sided):
    logits, labels, p, g, d = case
    unit = half_diagonal(labels.shape[2:], None)
    field = (d / unit).square()
    if not one_sided:
        for index in np.ndindex(*p.shape[:2]):
            q = (p[index] > 0.5).numpy()
            away = distance_transform_edt(q) + distance_transform_edt(~q)
            field[index] += torch.from_numpy(away / unit if 0 < q.sum() < q.size else np.ones(q.shape)) ** 2
    expected = ((p - g).square() * field).mean()
    assert HausdorffDTLoss(one_sided=one_sided)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    by_name = HausdorffOSLoss() if one_sided else HausdorffDTLoss()
    assert by_name(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("stretch", "most"), [(True, 14.5), (False, 1.0)])
def test_hausdorff_by_erosion(case, stretch, most):
    _, labels, _, g, _ = case
    logits = 9.0 * g.roll((2, 1), (2, 3))  # sure, and wrong in thick places
    p = logits.softmax(1)
    cross = torch.zeros(3, 3, 3, dtype=torch.double)
    cross[1, 1, :] = cross[1, :, 1] = cross[:, 1, 1] = 1 / 7
    eroded = (p - g).square()
    total = 0.5 * eroded
    survives = []
    for k in (1, 2, 3):
        padded = F.pad(eroded, [1] * 6, mode="replicate")
        eroded = ((2 if stretch else 1) * (F.conv3d(padded, cross.expand(3, 1, 3, 3, 3), groups=3) - 0.5)).clamp_min(0)
        survives.append(bool(eroded.any()))
        total = total + k**2 * eroded
    assert survives[:2] == [True, stretch], "at its word the equation ends after one erosion"
    loss = HausdorffERLoss(erosions=3, base=0.5, stretch=stretch)(logits, labels)
    assert loss.item() == pytest.approx((total / most).mean().item(), rel=1e-6)


def test_the_papers_erosion_of_an_untrained_network_has_no_gradient():
    logits = torch.zeros(1, 3, 6, 6, requires_grad=True)
    labels = torch.zeros(1, 1, 6, 6)
    labels[..., 3:] = 1
    for base, there in ((0.0, False), (1.0, True)):
        (gradient,) = torch.autograd.grad(HausdorffERLoss(base=base)(logits, labels), logits)
        assert gradient.any() == there


def test_hausdorff_by_convolutions(case):
    logits, labels, p, g, _ = case
    total = torch.zeros_like(p)
    ones = torch.ones_like(p[:1, :1])
    for r in (1, 2):
        grid = np.stack(np.meshgrid(*[np.arange(-r, r + 1)] * 3))
        ball = torch.from_numpy(((grid**2).sum(0) <= r * r).astype(float))[None, None]

        def average(x, ball=ball, r=r):
            seen = F.conv3d(x.flatten(0, 1)[:, None], ball, padding=r).view_as(x)
            return seen / F.conv3d(ones, ball, padding=r)

        def soft(x):
            return (x - 0.5).clamp_min(0)

        of_g, of_p = average(g), average(p)
        weighed = soft(1 - of_g) * p + soft(of_g) * g + soft(1 - of_p) * g + soft(of_p) * p
        total = total + r**2 / 5 * weighed
    expected = ((p - g).square() * total).mean()
    assert HausdorffCVLoss(radii=(1, 2))(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("make", [HausdorffDTLoss, GeneralizedSurfaceLoss])
def test_a_cap_bounds_what_far_errors_count(make):
    labels = torch.zeros(1, 1, 4, 40)
    labels[..., :2] = 1
    values = []
    for cap in (None, 5.0):
        near, far = (torch.zeros(1, 2, 4, 40) for _ in range(2))
        for x, place in ((near, 6), (far, 39)):
            x[:, 0] = 8.0
            x[:, :, :, :2] = x[:, :, :, :2].flip(1)
            x[:, 1, :, place] = 16.0
        values.append([make(cap=cap)(x, labels).item() for x in (near, far)])
    (near, far), (near_capped, far_capped) = values
    assert far > 2 * near
    assert far_capped == pytest.approx(near_capped, rel=0.3)


@pytest.mark.parametrize("make", [HausdorffDTLoss, HausdorffERLoss, GeneralizedSurfaceLoss])
@pytest.mark.parametrize("size", [12, 24])
def test_the_worst_prediction_costs_about_1_whatever_the_size(make, size):
    labels = torch.zeros(1, 1, size, size, size)
    labels[..., : size // 2] = 1
    wrong = 30.0 * torch.cat((labels, 1 - labels), 1)
    assert 0.1 < make()(wrong, labels).item() < 2
