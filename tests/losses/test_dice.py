from __future__ import annotations

import numpy as np
import pytest
import torch
from losses.plain_loops import dice_of, softmax

from nnunet_fess.losses import DiceLoss


def test_equals_plain_loops(small):
    logits, labels = small
    everywhere = np.ones(labels.shape[2:], bool)
    each = [
        dice_of(softmax(x)[j], y[0] == j, everywhere, 0.1)
        for x, y in zip(*(t.numpy() for t in small), strict=True)
        for j in (1, 2)
    ]
    assert DiceLoss(smooth=0.1)(logits, labels).item() == pytest.approx(np.mean(each))


def test_batch_dice_equals_plain_loops_over_samples_laid_side_by_side(small):
    logits, labels = small
    joined = np.concatenate([softmax(x) for x in logits.numpy()], -1)
    truth = np.concatenate(labels.numpy()[:, 0], -1)
    each = [dice_of(joined[j], truth == j, np.ones(truth.shape, bool), 0.1) for j in (1, 2)]
    assert DiceLoss(smooth=0.1, batch_dice=True)(logits, labels).item() == pytest.approx(np.mean(each))


def test_background_is_no_class():
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 1] = 20.0
    assert DiceLoss()(logits, torch.ones(1, 1, 4, 4)).item() == pytest.approx(0.0, abs=1e-6)


def test_half_a_probability_on_all_of_the_foreground():
    # 1 - 2·(N/2) / (N/2 + N)
    assert DiceLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4)).item() == pytest.approx(1 / 3)


def test_what_is_neither_there_nor_predicted_is_perfect():
    logits = torch.zeros(1, 2, 4, 4)
    logits[:, 0] = 100.0
    assert DiceLoss()(logits, torch.zeros(1, 1, 4, 4)) == 0


def test_what_is_predicted_but_not_there_is_no_better_than_a_miss():
    assert DiceLoss()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 1, 4, 4)).item() == pytest.approx(1.0, abs=1e-5)


def test_overlapping_regions_are_scored_each_for_itself():
    logits = torch.full((1, 2, 4, 4), 20.0)
    logits[:, 1] = -20.0
    assert DiceLoss()(logits, torch.ones(1, 2, 4, 4)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("smooth", [0.0, 1e-7, -1.0, float("nan")])
def test_a_smooth_that_float32_cannot_add_is_refused(smooth):
    with pytest.raises(ValueError, match="smooth must be at least 1e-6"):
        DiceLoss(smooth=smooth)


@pytest.mark.parametrize("case", ["0n1_", "1n1_", "2n1_", "3n1_"])
def test_released_equals_the_authors(golden, case):
    values = golden("cwcd")
    logits, labels = torch.from_numpy(values[case + "logits"]), torch.from_numpy(values[case + "labels"])[:, None]
    assert DiceLoss("released")(logits, labels).item() == pytest.approx(values[case + "dice"], rel=1e-5)
