from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.losses import FESSContrastiveLoss
from nnunet_fess.trainers.composed_loss import ComposedLoss, FESSFeature


class FakeTap:
    def __init__(self, *embeddings):
        self.embeddings = list(embeddings)

    def take(self):
        return self.embeddings.pop(0)


class Constant(nn.Module):
    def forward(self, output, target):
        return torch.tensor(3.0)


def embeddings(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 4, 4, generator=generator) for _ in range(count)]


def test_the_first_step_is_the_spatial_term_alone():
    loss = ComposedLoss(Constant(), FESSFeature(0.5, 1e-5), FakeTap(*embeddings(1)), weight=0.8)
    assert loss(None, None).item() == pytest.approx(0.8 * 3)


def test_the_second_step_adds_the_term_of_present_and_previous():
    previous, present = embeddings(2)
    loss = ComposedLoss(Constant(), FESSFeature(0.1, 1e-1), FakeTap(previous, present), weight=0.8)
    loss(None, None)
    expected = 0.8 * 3 + 0.2 * FESSContrastiveLoss(temperature=0.1, learning_rate=1e-1)(present, previous)
    assert loss(None, None).item() == pytest.approx(expected.item())


def test_validation_neither_adds_the_term_nor_advances_the_memory():
    previous, present = embeddings(2)
    feature = FESSFeature(0.5, 1e-5)
    loss = ComposedLoss(Constant(), feature, FakeTap(previous, present), weight=0.8)
    loss(None, None)
    with torch.no_grad():
        assert loss(None, None).item() == pytest.approx(0.8 * 3)
    assert torch.equal(feature.memory.embedding, previous)


def test_a_step_with_a_non_finite_embedding_does_not_poison_the_next():
    first, third = embeddings(2)
    loss = ComposedLoss(
        Constant(), FESSFeature(0.5, 1e-5), FakeTap(first, torch.full_like(first, float("nan")), third), weight=0.5
    )
    values = [loss(None, None) for _ in range(3)]
    assert torch.isfinite(values[2])
