"""What losses of the decoder's voxels share: which voxels, whose, of which class, and their projections."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nnunet_fess.losses.feature.anchors import cell_of, draw_anchors, near_a_border
from nnunet_fess.losses.feature.class_means import disjoint_classes, misclassified
from nnunet_fess.losses.feature.gather import gather_over_ranks, others_over_ranks
from nnunet_fess.losses.target import TargetKind
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features.feature_loss import FeatureLoss
from nnunet_fess.trainers.features.projection_head import ProjectionHead
from nnunet_fess.trainers.memory import Memory

# Of each class of each patch, as in the source of `PixelConFeature`: a memory of few voxels of many patches is worth more.
_REMEMBERED = 10
_UNKNOWN = -1


@dataclass(frozen=True)
class Voxels:
    """Voxels of the batch, those of all ranks.

    Attributes:
        rows: projections (N, 128), with their graph.
        labels: (N,) classes.
        cases: (N,) numbers of the cases; equal where nobody knows.
        remembered: (N,) whether they are among the few that stand for their patch's class.
    """

    rows: Tensor
    labels: Tensor
    cases: Tensor
    remembered: Tensor


class DecoderVoxels(FeatureLoss):
    """A loss of the features of the decoder's last map, at voxels of which there are as many of each class.

    Half of a class's voxels are hard: they share a face with another class, or the network has them wrong. Which ones is drawn
    by chance that depends on the number of the step and the place of the patch in the batch alone: neither the training's other
    chance, nor a look at the term, nor on which rank a patch lies, nor an interruption changes it. A voxel has the feature of
    the cell it lies in, where a decoder is coarser than its output. Ignored voxels take no part.

    Args:
        memory: what it remembers of earlier batches.
        channels: of the decoder's last feature map.
        voxels: how many of a batch, those of all ranks, at most; at least 2 of each class of each patch.
        ignore_label: of label maps.
        target_kind: labels or regions.
    """

    memory: Memory

    def __init__(
        self, memory: Memory, channels: int, voxels: int, ignore_label: int | None, target_kind: TargetKind = "labels"
    ):
        super().__init__(memory)
        self.head = ProjectionHead(channels)
        self.voxels = voxels
        self.ignore_label = ignore_label
        self.target_kind = target_kind

    def feature_map(self, seen: TrainingPass) -> Tensor:
        """The decoder's last feature map."""
        assert seen.decoded is not None, "the builder asks host.decoder_channels()"
        return seen.decoded

    def draw(self, seen: TrainingPass, output: Tensor, target: Tensor) -> Voxels:
        """The voxels of this step; see `FeatureLoss.forward` for the arguments."""
        features = self.feature_map(seen)
        classes, number = disjoint_classes(output, target, self.ignore_label, self.target_kind)
        hard = near_a_border(classes) | misclassified(output.detach(), classes, self.target_kind)
        before, after = others_over_ranks(features)
        batch = before + len(features) + after
        seeds = [self.memory.steps * batch + before + patch for patch in range(len(features))]
        sample, voxel = draw_anchors(classes, number, hard, self.voxels // batch, seeds)
        labels = classes.flatten(1)[sample, voxel]
        of_patch = _numbers(seen.cases, len(features)).to(sample)
        columns = torch.stack([labels, of_patch[sample], _few_of_each(sample * number + labels)], 1)
        cell = cell_of(voxel, classes.shape[1:], features.shape[2:])
        rows = features.flatten(2)[sample, :, cell]
        rows = gather_over_ranks(rows if rows.dtype == torch.float64 else rows.float())
        labels, cases, remembered = gather_over_ranks(columns).unbind(1)
        return Voxels(self.head(rows), labels, cases, remembered.bool())


def _few_of_each(groups: Tensor) -> Tensor:
    """1 for the rows that stand for their group, one of each of few equal parts of it, else 0; a group's rows lie together."""
    _, sizes = groups.unique_consecutive(return_counts=True)
    starts = (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    sizes = sizes.repeat_interleave(sizes)
    few = sizes.clamp_max(_REMEMBERED)
    place = torch.arange(len(groups), device=groups.device) - starts
    return (place * few % sizes < few).long()


def _numbers(cases: Sequence[str] | None, count: int) -> Tensor:
    """A number for each case's name, the same in every process and every training."""
    if cases is None:
        return torch.full((count,), _UNKNOWN)
    digests = (hashlib.blake2b(str(case).encode(), digest_size=7).digest() for case in cases)
    return torch.tensor([int.from_bytes(digest, "big") for digest in digests])
