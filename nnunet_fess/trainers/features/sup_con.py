"""SupCon: the classes of this batch against those of earlier ones."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses.feature.class_means import class_means, disjoint_classes
from nnunet_fess.losses.feature.gather import gather_over_ranks
from nnunet_fess.losses.feature.sup_con import sup_con_loss
from nnunet_fess.losses.target import TargetKind
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features.feature_loss import FeatureLoss
from nnunet_fess.trainers.features.projection_head import ProjectionHead
from nnunet_fess.trainers.memory import Queue


class SupConFeature(FeatureLoss):
    """Supervised contrast of class-pooled features against a class-labelled queue of earlier batches; this one is ours.

    Every class of every patch is one embedding: the features' mean over the class under the ground truth, projected. It is
    drawn to those of its class in this and earlier batches and pushed from those of other classes, the background included.

    Args:
        channels: of the feature map at `level`.
        level: see `FeatureLoss`.
        temperature: Δ.
        queue: number of embeddings of earlier batches.
        ignore_label: of label maps.
        target_kind: labels or regions.
    """

    memory: Queue

    def __init__(
        self,
        channels: int,
        level: int,
        temperature: float,
        queue: int,
        ignore_label: int | None,
        target_kind: TargetKind = "auto",
    ):
        super().__init__(Queue(queue), level)
        self.head = ProjectionHead(channels)
        self.temperature = temperature
        self.ignore_label = ignore_label
        self.target_kind = target_kind

    def forward(self, seen: TrainingPass, output: Tensor, target: Tensor, advance: bool = True) -> Tensor | None:
        """The supervised contrastive loss; 0 where there is nothing to contrast."""
        classes = disjoint_classes(output, target, self.ignore_label, self.target_kind)
        means, labels = class_means(self.feature_map(seen), *classes)
        rows, labels = self.head(gather_over_ranks(means)), gather_over_ranks(labels)
        queue = self.memory.recall() or (None, None)
        if advance:
            self.memory.store(rows, labels)
        return sup_con_loss(rows, labels, self.temperature, *queue)
