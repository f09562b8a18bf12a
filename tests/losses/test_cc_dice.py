from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from losses.plain_loops import dice_of, softmax, voxels
from torch import Tensor

from nnunet_fess.losses import CCDiceLoss, DiceCELoss
from nnunet_fess.losses.cc_dice import against_the_rest
from nnunet_fess.losses.target import parse_target


def nearest(parts: list[list[tuple[int, ...]]], shape: tuple[int, ...], spacing: tuple[float, ...]) -> np.ndarray:
    """Number of the component, given as lists of voxels, that is nearest to each voxel."""
    result = np.zeros(shape, int)
    for i in voxels(shape):
        far = [min(math.dist(np.multiply(i, spacing), np.multiply(j, spacing)) for j in part) for part in parts]
        result[i] = far.index(min(far))
    return result


def cell_part(probability: np.ndarray, truth: np.ndarray, cells: np.ndarray, smooth: float) -> float:
    """The second half's summand of one sample and class."""
    total = 0.0
    numbers = sorted(set(cells.flatten()))
    for number in numbers:
        inside = cells == number
        entropy = [-math.log(probability[i] if truth[i] else 1 - probability[i]) for i in voxels(cells.shape) if inside[i]]
        total += dice_of(probability, truth, inside, smooth) + sum(entropy) / len(entropy)
    return total / len(numbers)


def lesions() -> tuple[Tensor, list[list[tuple[int, ...]]]]:
    """Labels (1, 1, 5, 9): a large lesion, one of a voxel and one of two that touch by a corner, all of class 1."""
    parts = [[(y, x) for y in range(3) for x in range(3)], [(4, 8)], [(0, 7), (1, 8)]]
    labels = torch.zeros(1, 1, 5, 9, dtype=torch.int16)
    for part in parts:
        for i in part:
            labels[(0, 0, *i)] = 1
    return labels, parts


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0), (0.7, 3.0)])  # none with a voxel between two cells
def test_the_second_half_equals_plain_loops(spacing):
    labels, parts = lesions()
    logits = torch.randn(1, 3, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = CCDiceLoss(spacing=spacing, smooth=0.01)
    value = loss(logits, labels)
    probability, truth = softmax(logits[0].numpy()), labels[0, 0].numpy()
    first = cell_part(probability[1], truth == 1, nearest(parts, (5, 9), spacing or (1, 1)), 0.01)
    absent = cell_part(probability[2], truth == 2, np.zeros((5, 9), int), 0.01)
    assert (loss.latest["cc_dice"] + loss.latest["cc_ce"]).item() == pytest.approx((first + absent) / 2 / 2)
    assert (loss.latest["dice"] + loss.latest["ce"]).item() == pytest.approx(DiceCELoss(smooth=0.01)(logits, labels).item() / 2)
    assert value.item() == pytest.approx(sum(part.item() for part in loss.latest.values()))


def test_regions_are_what_a_label_map_of_two_classes_is():
    labels, _ = lesions()
    logits = torch.randn(1, 1, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    as_regions, as_labels = CCDiceLoss(target_kind="regions"), CCDiceLoss()
    as_regions(torch.cat((logits, logits), 1), torch.cat((labels, labels), 1))
    as_labels(torch.cat((torch.zeros_like(logits), logits), 1), labels)
    for part in ("cc_dice", "cc_ce"):
        assert as_regions.latest[part] == pytest.approx(as_labels.latest[part].item())


def missing(part: int) -> Tensor:
    """Logits that are sure of everything but one component, of which they know nothing."""
    labels, parts = lesions()
    logits = 20 * (2 * labels.double() - 1)
    for i in parts[part]:
        logits[(0, 0, *i)] = -20
    return torch.cat((torch.zeros_like(logits), logits), 1)


def test_a_lesion_of_one_voxel_that_is_missed_costs_as_much_dice_as_one_of_nine():
    labels, _ = lesions()
    costs, whole = [], []
    for part in range(3):
        loss = CCDiceLoss()
        loss(missing(part), labels)
        costs.append(loss.latest["cc_dice"].item())
        whole.append(loss.latest["dice"].item())
    assert costs == pytest.approx([1 / 6] * 3, abs=1e-5)  # half of a third
    assert whole[1] < whole[0] / 5, "Dice of the patch hardly sees it"


def test_a_class_that_is_not_there_has_one_cell():
    logits = torch.randn(1, 2, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss = CCDiceLoss(smooth=0.5)
    loss(logits, torch.zeros(1, 1, 4, 6))
    p = logits.softmax(1)[:, 1]
    assert loss.latest["cc_dice"].item() == pytest.approx((p.sum() / (p.sum() + 0.5)).item() / 2)
    assert loss.latest["cc_ce"].item() == pytest.approx(-(1 - p).log().mean().item() / 2)


def test_the_mean_is_that_of_samples_however_many_components_they_have():
    labels, _ = lesions()
    both = torch.cat((labels, torch.zeros_like(labels)))
    logits = torch.randn(2, 2, 5, 9, generator=torch.Generator().manual_seed(0))
    alone = []
    for sample in (slice(0, 1), slice(1, 2)):
        loss = CCDiceLoss()
        loss(logits[sample], both[sample])
        alone.append(loss.latest["cc_dice"].item())
    loss = CCDiceLoss()
    loss(logits, both)
    assert loss.latest["cc_dice"].item() == pytest.approx(np.mean(alone))


def test_ignored_voxels_are_no_component_and_count_in_no_cell():
    labels, parts = lesions()
    ignored = labels.clone()
    ignored[..., 4, 8] = 9
    loss = CCDiceLoss(ignore_label=9)
    logits = torch.randn(1, 2, 5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    loss(logits, ignored)
    cells = nearest([parts[0], parts[2]], (5, 9), (1, 1))
    probability, truth = softmax(logits[0].numpy())[1], (ignored[0, 0] == 1).numpy()
    total = 0.0
    for number in (0, 1):
        counts = cells == number
        counts[4, 8] = False
        entropy = [-math.log(probability[i] if truth[i] else 1 - probability[i]) for i in voxels((5, 9)) if counts[i]]
        total += dice_of(probability, truth, counts, 1e-5) + sum(entropy) / len(entropy)
    assert (loss.latest["cc_dice"] + loss.latest["cc_ce"]).item() == pytest.approx(total / 2 / 2)


def test_a_coarser_target_of_deep_supervision_has_larger_voxels():
    labels = torch.zeros(1, 1, 8, 8)
    labels[..., 4, 0] = labels[..., 0, 4] = 1
    fine = torch.nn.functional.interpolate(labels, scale_factor=2.0)
    for target in (labels, fine):
        # A grid of 16² with 1 × 3 mm: 2 × 6 on one of 8².
        drawn = [
            loss.maps(parse_target(torch.zeros(1, 2, *target.shape[2:]), target))["cells"]
            for loss in (
                CCDiceLoss(spacing=(1.0, 3.0), patch_size=(16, 16)),
                CCDiceLoss(spacing=(16 / target.shape[2], 48 / target.shape[3])),
            )
        ]
        assert torch.equal(*drawn)
        assert drawn[0].shape == (1, 1, *target.shape[2:])
        assert drawn[0].any()


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1e4])
def test_the_sigmoid_of_a_class_against_the_rest_is_its_softmax(classes, scale):
    logits = scale * torch.randn(2, classes, 3, 4, generator=torch.Generator().manual_seed(0))
    exact = logits.double()
    single, double = against_the_rest(logits), against_the_rest(exact)
    assert torch.allclose(double.sigmoid(), exact.softmax(1)[:, 1:], atol=1e-12)
    assert torch.allclose(single.double(), double, rtol=1e-6, atol=1e-5)
    assert torch.autograd.gradcheck(against_the_rest, (exact.requires_grad_(),))


@pytest.mark.parametrize("options", [{"smooth": 1e-7}, {"spacing": (1.0, -1.0)}, {"patch_size": (8, 8)}])
def test_ill_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        CCDiceLoss(**options)
