"""The feature terms: what each reads off a training pass, remembers, and contrasts.

All of them gather over the ranks of a DDP training first and then compute what one process with the whole batch would: loss,
gradient and memory are the same on every rank, and the checkpoint that rank 0 writes is everybody's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nnunet_fess.losses import FESSContrastiveLoss, nt_xent_loss, sup_con_loss
from nnunet_fess.losses.feature.class_means import class_means, disjoint_classes
from nnunet_fess.losses.feature.gather import gather_over_ranks
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.intensity_view import intensity_view
from nnunet_fess.trainers.memory import Memory, PreviousBatch, Queue

# SimCLR's, and that of most work since: similarities are compared in 128 dimensions.
_PROJECTED = 128


class FeatureTerm(nn.Module):
    """A term of the features of one training pass.

    Its parameters, if any, are optimised with the network's; its `state_dict` is part of the trainer's checkpoint.

    Args:
        memory: what it remembers of earlier batches.
        level: which feature map it reads: 1 is the bottleneck, 2 the encoder stage before it, ….
        smallest_batch: patches in a batch, those of all ranks, below which it is never defined.
    """

    def __init__(self, memory: Memory | None = None, level: int = 1, smallest_batch: int = 1):
        super().__init__()
        self.memory = memory
        self.level = level
        self.smallest_batch = smallest_batch

    def forward(self, seen: TrainingPass, output: Tensor, target: Tensor, advance: bool = True) -> Tensor | None:
        """The term, and one step of the memory.

        Args:
            seen: the training pass.
            output: logits (B, C, *spatial) at full resolution.
            target: label map or regions in nnU-Net's shapes, at full resolution.
            advance: False to look without remembering.

        Returns:
            scalar; None while the term is not defined (no earlier batch yet).
        """
        raise NotImplementedError


class ProjectionHead(nn.Sequential):
    """Pooled embedding (N, channels) → (N, 128), in float32: linear, ReLU, linear, as in SimCLR (arXiv 2002.05709, 2.1)."""

    def __init__(self, channels: int):
        super().__init__(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, _PROJECTED))

    def forward(self, pooled: Tensor) -> Tensor:
        """The projection; NaN where the embedding is not finite."""
        with torch.autocast(device_type=pooled.device.type, enabled=False):
            projected = super().forward(pooled.float())
        # ReLU makes 0 of -inf: such an embedding could leave here, and be remembered, as a finite one.
        return projected.masked_fill(~torch.isfinite(pooled).all(1, keepdim=True), torch.nan)


class FESSFeature(FeatureTerm):
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
        embedding = gather_over_ranks(seen.skips[-1])
        pair = self.memory.recall(embedding)
        if advance:
            self.memory.store(embedding)
        if pair is None:
            return None
        self.loss.learning_rate = self.learning_rate()
        return self.loss(*pair)


class TwoViewsFeature(FeatureTerm):
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
        first, second = (self.head(gather_over_ranks(z.flatten(2).float().mean(2))) for z in (seen.skips[-1], view))
        if len(first) < self.smallest_batch:
            return None
        if self.memory is None:
            return nt_xent_loss(first, second, self.temperature)
        queue = self.memory.recall()
        if advance:
            rows = torch.cat([first, second])
            self.memory.store(rows, torch.zeros(len(rows), dtype=torch.long, device=rows.device))
        return None if queue is None else nt_xent_loss(first, second, self.temperature, queue[0])


class SupConFeature(FeatureTerm):
    """Supervised contrast of class-pooled features against a class-labelled queue of earlier batches; this one is ours.

    Every class of every patch is one embedding: the features' mean over the class under the ground truth, projected. It is
    drawn to those of its class in this and earlier batches and pushed from those of other classes, the background included.

    Args:
        channels: of the feature map at `level`.
        level: see `FeatureTerm`.
        temperature: Δ.
        queue: number of embeddings of earlier batches.
        ignore_label: of label maps.
    """

    memory: Queue

    def __init__(self, channels: int, level: int, temperature: float, queue: int, ignore_label: int | None):
        super().__init__(Queue(queue), level)
        self.head = ProjectionHead(channels)
        self.temperature = temperature
        self.ignore_label = ignore_label

    def forward(self, seen: TrainingPass, output: Tensor, target: Tensor, advance: bool = True) -> Tensor | None:
        """The supervised contrastive loss; 0 where there is nothing to contrast."""
        means, labels = class_means(seen.skips[-self.level], *disjoint_classes(output, target, self.ignore_label))
        rows, labels = self.head(gather_over_ranks(means)), gather_over_ranks(labels)
        queue = self.memory.recall() or (None, None)
        if advance:
            self.memory.store(rows, labels)
        return sup_con_loss(rows, labels, self.temperature, *queue)
