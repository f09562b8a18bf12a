"""FESS: this batch against the previous one."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from nnunet_fess.losses.feature.fess_contrastive import FESSContrastiveLoss
from nnunet_fess.losses.feature.gather import gather_over_ranks
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features.feature_loss import FeatureLoss
from nnunet_fess.trainers.memory import PreviousBatch


class FESSFeature(FeatureLoss):
    """FESS's contrastive term on the present and the previous training batch (arXiv 2402.08582, equation of L_con).

    Args:
        temperature: Δ.
        learning_rate: η of the step to come.
    """

    memory: PreviousBatch

    def __init__(self, temperature: float, learning_rate: Callable[[], float]):
        super().__init__(PreviousBatch())
        self.loss = FESSContrastiveLoss(temperature)
        self.learning_rate = learning_rate

    def forward(self, seen: TrainingPass, output: Tensor, target: Tensor, advance: bool = True) -> Tensor | None:
        """L_con; None while there is no previous batch."""
        embedding = gather_over_ranks(self.feature_map(seen))
        pair = self.memory.recall(embedding)
        if advance:
            self.memory.store(embedding)
        if pair is None:
            return None
        self.loss.learning_rate = self.learning_rate()
        return self.loss(*pair)
