"""SimCLR and InfoNCE: each patch against another view of it."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunet_fess.losses.feature.gather import gather_over_ranks
from nnunet_fess.losses.feature.nt_xent import nt_xent_loss
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features.feature_loss import FeatureLoss
from nnunet_fess.trainers.features.projection_head import ProjectionHead
from nnunet_fess.trainers.intensity_view import intensity_view
from nnunet_fess.trainers.memory import Queue


class TwoViewsFeature(FeatureLoss):
    """NT-Xent between each patch and an intensity-augmented view of it, pooled bottleneck, projection head.

    SimCLR without, InfoNCE with a queue of earlier batches, which then gives all negatives. One view is the patch as nnU-Net
    augmented it for the segmentation, so that only one more pass through the encoder is needed.

    Args:
        channels: of the bottleneck.
        image_channels: see `intensity_view`.
        temperature: Δ.
        queue: number of negatives from earlier batches; None for SimCLR.
    """

    memory: Queue | None

    def __init__(self, channels: int, image_channels: int, temperature: float, queue: int | None = None):
        # Without a queue the other patches are the negatives.
        super().__init__(None if queue is None else Queue(queue), smallest_batch=2 if queue is None else 1)
        self.head = ProjectionHead(channels)
        self.image_channels = image_channels
        self.temperature = temperature

    def forward(self, seen: TrainingPass, output: Tensor, target: Tensor, advance: bool = True) -> Tensor | None:
        """NT-Xent; None while there are no negatives: for InfoNCE with an empty queue, for SimCLR in a batch of one patch."""
        view = seen.encode(intensity_view(seen.image, self.image_channels))[-1]
        first, second = (self.head(gather_over_ranks(z.flatten(2).float().mean(2))) for z in (self.feature_map(seen), view))
        if len(first) < self.smallest_batch:
            return None
        if self.memory is None:
            return nt_xent_loss(first, second, self.temperature)
        queue = self.memory.recall()
        if advance:
            rows = torch.cat([first, second])
            self.memory.store(rows, torch.zeros(len(rows), dtype=torch.long, device=rows.device))
        return None if queue is None else nt_xent_loss(first, second, self.temperature, queue[0])
