from __future__ import annotations

import pytest
import torch

from nnunet_fess.losses import DiceLoss, FESSContrastiveLoss, FESSLoss


@pytest.fixture
def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.randn(2, 2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))


def test_is_the_weighted_sum_of_its_parts(small, embeddings):
    loss = FESSLoss(0.8, temperature=0.2, learning_rate=0.1, smooth=0.5, batch_dice=True)
    dice = DiceLoss(smooth=0.5, batch_dice=True)(*small)
    contrastive = FESSContrastiveLoss(0.2, 0.1)(*embeddings)
    assert torch.allclose(loss(*small, *embeddings), 0.8 * dice + 0.2 * contrastive)


def test_the_first_step_has_dice_alone(small, embeddings):
    assert torch.equal(FESSLoss(0.8)(*small, embeddings[0], None), 0.8 * DiceLoss()(*small))


def test_released_takes_the_sigmoid_of_each_foreground_channel_and_one_sum_over_the_batch(small, embeddings):
    logits, labels = small
    hit = both = 0.0
    for x, y in zip(logits.sigmoid(), labels[:, 0], strict=True):
        for j in (1, 2):
            hit += x[j][y == j].sum().item()
            both += x[j].sum().item() + (y == j).sum().item()
    expected = 1 - (2 * hit + 1e-5) / (both + 1e-5)
    loss = FESSLoss(1.0, convention="released")
    assert loss(logits, labels, *embeddings).item() == pytest.approx(expected)


@pytest.mark.parametrize("weight", [-0.1, 1.1])
def test_a_weight_outside_0_to_1_is_refused(weight):
    with pytest.raises(ValueError, match=r"dice_weight must be between 0 and 1. Got: "):
        FESSLoss(weight)


@pytest.mark.parametrize("index", range(4))
def test_released_equals_the_authors(golden, index):
    values = {key: torch.from_numpy(v) for key, v in golden("fess").items() if key.startswith(f"{index}_")}
    present, previous, truth, probability = (
        values[f"{index}_{key}"].movedim(-1, 1) for key in ("pres", "prev", "y_true", "y_pred")
    )
    for weight in (0.5, 0.8):
        loss = FESSLoss(weight, learning_rate=1e-4, convention="released")
        value = loss(probability.logit(), truth, present, previous)
        assert value.item() == pytest.approx(values[f"{index}_combined_w{weight}"].item(), rel=1e-5)
    dice = FESSLoss(1.0, convention="released")(probability.logit(), truth, present, None)
    assert dice.item() == pytest.approx(values[f"{index}_dice"].item(), rel=1e-5)
