"""λ · spatial term + (1 − λ) · feature term, called by nnU-Net like any of its losses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nnunet_fess.losses import FESSContrastiveLoss
from nnunet_fess.trainers.embedding_tap import EmbeddingTap
from nnunet_fess.trainers.memory import PreviousBatch


class FESSFeature(nn.Module):
    """FESS's contrastive term on the present and the previous training batch (arXiv 2402.08582, eq. for L_con).

    Args:
        temperature: Δ.
        learning_rate: η.
    """

    def __init__(self, temperature: float, learning_rate: float):
        super().__init__()
        self.loss = FESSContrastiveLoss(temperature=temperature, learning_rate=learning_rate)
        self.memory = PreviousBatch()

    def forward(self, embedding: Tensor) -> Tensor | None:
        """The term, and one step of the memory; None while there is no previous batch.

        Args:
            embedding: bottleneck (B, C, *spatial) of the present batch.
        """
        pair = self.memory.recall(embedding)
        self.memory.store(embedding)
        return None if pair is None else self.loss(*pair)


class ComposedLoss(nn.Module):
    """λ · spatial + (1 − λ) · feature in training, λ · spatial in validation, where no feature term is defined.

    The feature term is computed once per training step, not once per deep-supervision scale, and only where gradients are
    recorded: nnU-Net calls its loss in validation too, and a memory must not advance there.

    Args:
        spatial: loss of (output, target), deep supervision included.
        feature: term of the embedding; returns None when it is not defined yet (first step).
        tap: where the embedding comes from.
        weight: λ in [0, 1].
    """

    def __init__(self, spatial: nn.Module, feature: nn.Module, tap: EmbeddingTap, weight: float):
        super().__init__()
        self.spatial = spatial
        self.feature = feature
        self.tap = tap
        self.weight = weight

    def forward(self, output: Any, target: Any) -> Tensor:
        """The weighted sum, a scalar.

        Args:
            output: logits (B, C, *spatial), or a list of them with deep supervision.
            target: label maps or regions in nnU-Net's shapes, as many as outputs.
        """
        loss = self.weight * self.spatial(output, target)
        if torch.is_grad_enabled():
            term = self.feature(self.tap.take())
            if term is not None:
                loss = loss + (1 - self.weight) * term
        return loss
