"""Prototypes: the decoder's voxels against one vector per class that moves slowly from batch to batch."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses.feature.prototypes import prototype_loss
from nnunet_fess.losses.target import TargetKind
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features.decoder_voxels import DecoderVoxels
from nnunet_fess.trainers.memory import ClassPrototypes


class PrototypesFeature(DecoderVoxels):
    """Cross entropy of the decoder's voxels over class prototypes with a momentum: the cheap relative of `PixelConFeature`.

    `DecoderVoxels` says which voxels, `prototype_loss` what is computed, `ClassPrototypes` how a class's vector moves. The
    vectors are those of earlier batches, without gradient; a class that none of them had takes part from the next step on.

    Source: after Zhou et al. 2022, Rethinking Semantic Segmentation: A Prototype View, arXiv 2203.15102, with one prototype per
    class, and the network's own logits beside it.

    Args:
        channels: of the decoder's last feature map.
        num_classes: of `disjoint_classes`.
        voxels: see `DecoderVoxels`.
        temperature: Δ.
        momentum: see `ClassPrototypes`.
        ignore_label: of label maps.
        target_kind: labels or regions.
    """

    memory: ClassPrototypes

    def __init__(
        self,
        channels: int,
        num_classes: int,
        voxels: int,
        temperature: float,
        momentum: float,
        ignore_label: int | None,
        target_kind: TargetKind = "labels",
    ):
        super().__init__(ClassPrototypes(num_classes, momentum), channels, voxels, ignore_label, target_kind)
        self.temperature = temperature

    def forward(self, seen: TrainingPass, output: Tensor, target: Tensor, advance: bool = True) -> Tensor | None:
        """The cross entropy; None before the first step, 0 where there is nothing to tell apart."""
        found = self.draw(seen, output, target)
        known = self.memory.recall()
        if advance:
            self.memory.store(found.rows, found.labels)
        return None if known is None else prototype_loss(found.rows, found.labels, *known, self.temperature)
