"""What every loss of the network's features is called with, and what it has."""

from __future__ import annotations

from torch import Tensor, nn

from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.memory import Memory


class FeatureLoss(nn.Module):
    """A loss of the features of one training pass: what a feature term of a trainer's name is built as.

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

    def feature_map(self, seen: TrainingPass) -> Tensor:
        """The feature map that it reads, (B, C, *cells): the encoder's at `level`, unless overridden."""
        return seen.skips[-self.level]

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
