from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.losses import FESSContrastiveLoss
from nnunet_fess.trainers.composed_loss import ComposedLoss
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features import FeatureLoss
from nnunet_fess.trainers.features.fess import FESSFeature


class FakeTap:
    def __init__(self, *embeddings):
        self.embeddings = list(embeddings)

    def take(self):
        return TrainingPass(image=torch.empty(0), skips=[self.embeddings.pop(0)], encode=None)


def fess(temperature, eta):
    return FESSFeature(temperature, lambda: eta)


class Constant(nn.Module):
    def forward(self, output, target):
        return torch.tensor(3.0)


def embeddings(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 4, 4, generator=generator) for _ in range(count)]


def test_the_first_step_is_the_spatial_term_alone():
    loss = ComposedLoss(Constant(), fess(0.5, 1e-5), FakeTap(*embeddings(1)), weight=0.8)
    assert loss(None, None).item() == pytest.approx(0.8 * 3)


def test_the_second_step_adds_the_term_of_present_and_previous():
    previous, present = embeddings(2)
    loss = ComposedLoss(Constant(), fess(0.1, 1e-1), FakeTap(previous, present), weight=0.8)
    loss(None, None)
    expected = 0.8 * 3 + 0.2 * FESSContrastiveLoss(temperature=0.1, learning_rate=1e-1)(present, previous)
    assert loss(None, None).item() == pytest.approx(expected.item())


def test_validation_neither_adds_the_term_nor_advances_the_memory():
    previous, present = embeddings(2)
    feature = fess(0.5, 1e-5)
    loss = ComposedLoss(Constant(), feature, FakeTap(previous, present), weight=0.8)
    loss(None, None)
    with torch.no_grad():
        assert loss(None, None).item() == pytest.approx(0.8 * 3)
    assert torch.equal(feature.memory.content["embedding"], previous)


def test_a_step_with_a_non_finite_embedding_does_not_poison_the_next():
    first, third = embeddings(2)
    loss = ComposedLoss(Constant(), fess(0.5, 1e-5), FakeTap(first, torch.full_like(first, float("nan")), third), weight=0.5)
    values = [loss(None, None) for _ in range(3)]
    assert torch.isfinite(values[2])


class Sum(nn.Module):
    """A spatial term whose gradient at the bottleneck is known."""

    def forward(self, output, target):
        return output.sum()


def test_the_gradient_share_is_the_ratio_of_the_weighted_gradients():
    previous, present = embeddings(2)
    present = present.requires_grad_()
    loss = ComposedLoss(Sum(), fess(0.5, 1.0), FakeTap(previous, present), weight=0.8)
    loss(previous, None)
    share = loss.feature_gradient_share(2 * present, None)
    term = FESSContrastiveLoss(temperature=0.5, learning_rate=1.0)(present, previous)
    slope = torch.autograd.grad(term, present)[0].norm().item()
    assert share == pytest.approx(0.2 * slope / (0.8 * 2 * present.numel() ** 0.5), rel=1e-5)


def test_a_look_at_the_gradient_share_does_not_advance_the_memory():
    previous, present = embeddings(2)
    feature = fess(0.5, 1.0)
    loss = ComposedLoss(Sum(), feature, FakeTap(previous, present.requires_grad_()), weight=0.8)
    loss(previous, None)
    loss.feature_gradient_share(present, None)
    assert torch.equal(feature.memory.content["embedding"], previous)


def test_the_components_add_up_to_the_loss():
    previous, present = embeddings(2)
    loss = ComposedLoss(Constant(), fess(0.5, 1e-1), FakeTap(previous, present), weight=0.8)
    loss(None, None)
    loss.components.close_epoch(0)
    total = loss(None, None).item()
    row = loss.components.close_epoch(1)
    assert 0.8 * row["spatial"] + 0.2 * row["feature"] == pytest.approx(total)


class Records(FeatureLoss):
    """A feature term that notes whose patches it is told it sees."""

    def __init__(self):
        super().__init__()
        self.cases = []

    def forward(self, seen, output, target, advance=True):
        self.cases.append(seen.cases)


def test_the_feature_term_is_told_whose_patches_it_sees():
    loss = ComposedLoss(Constant(), Records(), FakeTap(*embeddings(2)), weight=0.8)
    loss(None, None)
    loss.cases = ["one", "other"]
    loss(None, None)
    assert loss.feature.cases == [None, ["one", "other"]]


def test_without_feature_term_it_is_the_spatial_term():
    loss = ComposedLoss(Constant())
    assert loss(None, None).item() == 3
    assert loss.components.close_epoch(0) == {"epoch": 0, "spatial": 3}
