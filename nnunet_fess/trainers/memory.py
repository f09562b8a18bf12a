"""What a feature term remembers of earlier batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PreviousBatch(nn.Module):
    """The embedding of the previous training batch, FESS's z̃.

    Detached from the graph. A non-finite embedding is never stored (it would poison the next step); it is counted instead.
    The content is part of the `state_dict`, so that a resumed training continues with the batch it stopped after.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embedding: Tensor | None = None
        self.rejected = 0

    def recall(self, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """The present and the previous embedding, cut to the smaller batch; None before the first step.

        Args:
            like: the present embedding (B, C, *spatial).

        Returns:
            Two tensors of the same shape (min(B, previous B), C, *spatial), or None when there is nothing to compare with: the
            first step, or a patch or network other than the one remembered.
        """
        previous = self.embedding
        if previous is None or previous.shape[1:] != like.shape[1:]:
            return None
        batch = min(len(previous), len(like))
        return like[:batch], previous[:batch].to(like)

    def store(self, embedding: Tensor) -> None:
        """Remember the embedding (B, C, *spatial) of the step that ends."""
        if torch.isfinite(embedding).all():
            self.embedding = embedding.detach()
        else:
            self.rejected += 1

    def get_extra_state(self) -> dict[str, object]:
        """What goes into a checkpoint."""
        return {"embedding": self.embedding, "rejected": self.rejected}

    def set_extra_state(self, state: dict[str, object]) -> None:
        """Take up what a checkpoint holds."""
        self.embedding = state["embedding"]  # type: ignore[assignment]
        self.rejected = state["rejected"]  # type: ignore[assignment]
