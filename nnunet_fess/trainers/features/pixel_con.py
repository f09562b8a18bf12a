"""PixelCon: the decoder's voxels of this batch against those of earlier ones, other patients' first."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses.feature.pixel_con import pixel_con_loss
from nnunet_fess.losses.target import TargetKind
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features.decoder_voxels import DecoderVoxels
from nnunet_fess.trainers.memory import BalancedQueue


class PixelConFeature(DecoderVoxels):
    """Supervised contrast of the decoder's voxels with each other and with a class-labelled queue of earlier batches'.

    `DecoderVoxels` says which voxels, `pixel_con_loss` how they are contrasted: a voxel's partners are those of its class in
    *other cases*, as long as there are any. A case is what nnU-Net's loader names: two images of one patient are two cases.
    The queue takes ten voxels of each class of each patch, half of them hard, and every class met so far has an equal share.

    Source: Wang et al. 2021, Exploring Cross-Image Pixel Contrast for Semantic Segmentation, arXiv 2101.11939, with a queue of
    voxels alone (theirs has one of means over regions besides).

    Args:
        channels: of the decoder's last feature map.
        voxels: see `DecoderVoxels`.
        temperature: Δ.
        queue: number of voxels of earlier batches.
        ignore_label: of label maps.
        target_kind: labels or regions.
    """

    memory: BalancedQueue

    def __init__(
        self,
        channels: int,
        voxels: int,
        temperature: float,
        queue: int,
        ignore_label: int | None,
        target_kind: TargetKind = "labels",
    ):
        super().__init__(BalancedQueue(queue), channels, voxels, ignore_label, target_kind)
        self.temperature = temperature

    def forward(self, seen: TrainingPass, output: Tensor, target: Tensor, advance: bool = True) -> Tensor | None:
        """The contrastive loss; 0 where there is nothing to contrast."""
        found = self.draw(seen, output, target)
        earlier = self.memory.content
        queue = [earlier[key] for key in ("embeddings", "labels", "cases")] if earlier else [None] * 3
        if advance:
            few = found.remembered
            self.memory.store(found.rows[few], found.labels[few], cases=found.cases[few])
        return pixel_con_loss(found.rows, found.labels, found.cases, self.temperature, *queue)
