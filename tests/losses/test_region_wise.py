"""Region-wise losses: maps by plain loops, the authors' values, schedules included."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from nnunet_fess.losses import (
    CrossEntropyLoss,
    DiceLoss,
    FocalLoss,
    RegionWiseLoss,
    active_contour_map,
    boundary_map,
    rrw_map,
)
from nnunet_fess.losses.maps.region_wise import half_diagonal
from nnunet_fess.trainers.schedules import gradual


def plain_signed_distance(labels: np.ndarray, label: int, spacing: tuple[float, ...]) -> np.ndarray:
    """+ to the class outside, - to its complement inside, voxel against voxel; infinite where there is nothing to go to."""
    result = np.zeros(labels.shape)
    voxels = list(itertools.product(*map(range, labels.shape)))
    for i in voxels:
        inside = labels[i] == label
        goals = [j for j in voxels if (labels[j] == label) != inside]
        away = min(
            (math.dist(*([s * k for s, k in zip(spacing, x, strict=True)] for x in (i, j))) for j in goals), default=math.inf
        )
        result[i] = -away if inside else away
    return result


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 1.3)])
def test_maps_equal_plain_loops(small, spacing):
    labels = small[1].long()
    signed = np.stack([[plain_signed_distance(y.numpy(), j, spacing) for j in range(4)] for y in labels[:, 0]])
    absent = half_diagonal(labels.shape[2:], spacing)
    expected = np.where(np.isinf(signed), np.sign(signed) * absent, signed)
    np.testing.assert_allclose(boundary_map(labels, 4, spacing), expected, atol=1e-4)
    inside = np.where(signed < 0, -signed, 0)
    largest = np.maximum(inside.max((2, 3, 4), keepdims=True), 1e-9)
    np.testing.assert_allclose(rrw_map(labels, 4, spacing), np.where(signed < 0, -inside / largest, 1), atol=1e-5)
    assert torch.equal(active_contour_map(labels, 4), torch.from_numpy(np.sign(signed)).float())


@pytest.mark.parametrize("make", [rrw_map, boundary_map, active_contour_map])
def test_an_absent_class_and_one_that_fills_the_patch_have_finite_maps(make):
    drawn = make(torch.ones(1, 1, 6, 5), 3)
    assert drawn.isfinite().all()
    assert (drawn[:, [0, 2]] > 0).all()
    assert (drawn[:, 1] < 0).all()
    assert all(len(channel.unique()) == 1 for channel in drawn[0]), "a patch border is no organ border"


@pytest.mark.parametrize("make", [rrw_map, boundary_map, active_contour_map])
@pytest.mark.parametrize(
    ("labels", "classes", "spacing", "found"),
    [
        (torch.zeros(1, 1, 4, 5), 3, (1.0,), r"spacing.*each axis of \(4, 5\). Got: \(1.0,\)"),
        (torch.zeros(1, 1, 4, 5), 3, (1.0, math.inf), r"spacing must be positive and finite.*Got: \(1.0, inf\)"),
        (torch.zeros(1, 1, 4, 5), 3, 1.0, r"spacing must be several numbers.*Got: 1.0"),
        (torch.zeros(1, 1, 4, 5), 3.5, None, r"num_classes must be a whole number\. Got: 3\.5"),
        (torch.zeros(1, 1, 4, 5), 0, None, r"num_classes must be at least 1\. Got: 0"),
        (np.zeros((1, 1, 4, 5)), 3, None, r"target must be one torch\.Tensor.*Got: ndarray"),
        (torch.zeros(1, 1, 4, 5).to_sparse(), 3, None, r"target must be dense.*Got: torch\.sparse_coo"),
        (torch.zeros(1, 1, 4, 5) + 1j, 3, None, r"target must have a real dtype.*Got: torch\.complex64"),
        (torch.zeros(1, 1, 4, 0), 3, None, r"target must be a label map.*of voxels.*Got: \(1, 1, 4, 0\)"),
        (torch.full((1, 1, 4, 5), 3), 3, None, r"must not exceed 2.*Got: 3"),
    ],
)
def test_a_map_says_what_it_cannot_be_drawn_of(make, labels, classes, spacing, found):
    with pytest.raises(ValueError, match=found):
        make(labels, classes, spacing)


@pytest.mark.parametrize("make", [rrw_map, boundary_map, active_contour_map])
def test_a_map_does_not_depend_on_the_labels_dtype(make):
    labels = torch.randint(0, 3, (2, 1, 5, 7))
    drawn = make(labels, 3, (2.0, 0.7))
    for dtype in (torch.uint8, torch.uint16, torch.float16, torch.float64, torch.float8_e4m3fn):
        assert torch.equal(make(labels.to(dtype), 3, (2.0, 0.7)), drawn)
    assert make(labels[:0], 3).shape == (0, 3, 5, 7)


def test_inside_a_class_its_own_map_is_the_least(small):
    for make in (rrw_map, boundary_map, active_contour_map):
        drawn = make(small[1], 3)
        assert torch.equal(drawn.argmin(1, keepdim=True), small[1].long())


@pytest.mark.parametrize("kind", ["rrw", "boundary", "active_contour"])
def test_value_is_the_mean_of_p_z_above_its_least(small, kind):
    logits, labels = small
    drawn = {"rrw": rrw_map, "boundary": boundary_map, "active_contour": active_contour_map}[kind](labels, 3).double()
    drawn = drawn / (half_diagonal(labels.shape[2:], None) if kind == "boundary" else 1)
    truth = torch.nn.functional.one_hot(labels[:, 0].long(), 3).movedim(-1, 1)
    expected = ((logits.softmax(1) - truth) * drawn).mean()
    assert RegionWiseLoss(kind)(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    perfect = 200.0 * truth
    assert RegionWiseLoss(kind)(perfect, labels).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("size", [16, 32])
def test_a_boundary_loss_does_not_grow_with_the_volume(size):
    labels = torch.zeros(1, 1, size, size, size)
    labels[..., : size // 2] = 1
    value = RegionWiseLoss("boundary")(torch.zeros(1, 2, size, size, size), labels).item()
    assert value == pytest.approx(0.15, abs=0.02)


def test_deep_supervision_measures_in_mm():
    labels = torch.zeros(1, 1, 8, 8, 8)
    labels[..., 3:, 2:] = 1
    logits = torch.randn(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = RegionWiseLoss("boundary", spacing=(1.0, 1.0, 3.0), patch_size=(16, 16, 16))
    assert torch.equal(whole(logits, labels), RegionWiseLoss("boundary", spacing=(2.0, 2.0, 6.0))(logits, labels))


def test_released_boundary_reuses_the_map_before_an_absent_class():
    labels = torch.zeros(1, 1, 4, 5)
    labels[..., 3:] = 2
    loss = RegionWiseLoss("boundary", "released", spacing=(7.0, 7.0))
    from nnunet_fess.losses.target import parse_target

    (drawn,) = loss.maps(parse_target(torch.zeros(1, 4, 4, 5), labels)).values()
    assert torch.equal(drawn[:, 1], drawn[:, 0])
    assert torch.equal(drawn[:, 3], drawn[:, 2])
    assert drawn.abs().max() == 3, "voxels, whatever the spacing"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"map": "distance"}, "map.*Got: 'distance'"),
        ({"convention": "x"}, "convention.*Got: 'x'"),
        ({"cap": 0.0}, r"cap.*Got: 0\.0"),
    ],
)
def test_ill_options_are_refused(options, found):
    with pytest.raises(ValueError, match=found):
        RegionWiseLoss(**options)


# --- the authors' values


RELEASED = {
    "rrw": lambda: {RegionWiseLoss("rrw", "released"): 1.0},
    "boundary": lambda: {RegionWiseLoss("boundary", "released"): 1.0},
    "focal": lambda: {FocalLoss(): 1.0},
    "dice": lambda: {DiceLoss(do_bg=True): 1.0},
    "ce": lambda: {CrossEntropyLoss(): 1.0},
    "rrw_equal_ce": lambda: {CrossEntropyLoss(): 1.0, RegionWiseLoss("rrw", "released"): 1.0},
    "rrw_gradual_ce_e20": lambda: _gradual(CrossEntropyLoss(), "rrw", 20),
    "rrw_gradual_dice_e20": lambda: _gradual(DiceLoss(do_bg=True), "rrw", 20),
    "boundary_dice_e20": lambda: _gradual(DiceLoss(do_bg=True), "boundary", 20),
    "boundary_gradual_ce_e150": lambda: _gradual(CrossEntropyLoss(), "boundary", 150),
}


def _gradual(region, kind, epoch):
    alpha, rest = gradual(epoch, 100)  # the authors' 100 epochs
    return {region: alpha, RegionWiseLoss(kind, "released"): rest}


@pytest.mark.parametrize("case", ["0_", "1_", "2_"])
@pytest.mark.parametrize("name", RELEASED)
def test_released_equals_the_authors(golden, case, name):
    values = golden("region_wise")
    logits = torch.from_numpy(values[case + "logits"]).requires_grad_()
    labels = torch.from_numpy(values[case + "labels"])[:, None]
    value = sum(weight * loss(logits, labels) for loss, weight in RELEASED[name]().items())
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == pytest.approx(values[case + name], rel=1e-5)
    assert gradient.norm().item() == pytest.approx(values[case + name + "_grad_norm"], rel=1e-5)
