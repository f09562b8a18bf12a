"""What a feature term remembers of earlier batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Memory(nn.Module):
    """Content that is part of the `state_dict`, so that a resumed training continues with the batches it stopped after.

    What is stored is detached from the graph. A non-finite embedding is never stored (it would poison later steps); it is
    counted instead.

    Attributes:
        rejected: how many were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rejected = 0
        self.content: dict[str, Tensor] = {}

    def get_extra_state(self) -> dict[str, object]:
        """What goes into a checkpoint."""
        return {"content": self.content, "rejected": self.rejected}

    def set_extra_state(self, state: dict[str, object]) -> None:
        """Take up what a checkpoint holds."""
        self.content = state["content"]  # type: ignore[assignment]
        self.rejected = state["rejected"]  # type: ignore[assignment]


class PreviousBatch(Memory):
    """The embedding of the previous training batch, FESS's z̃."""

    def recall(self, like: Tensor) -> tuple[Tensor, Tensor] | None:
        """The present and the previous embedding, cut to the smaller batch; None before the first step.

        Args:
            like: the present embedding (B, C, *spatial).

        Returns:
            Two tensors of the same shape (min(B, previous B), C, *spatial), or None when there is nothing to compare with: the
            first step, or a patch or network other than the one remembered.
        """
        previous = self.content.get("embedding")
        if previous is None or previous.shape[1:] != like.shape[1:]:
            return None
        batch = min(len(previous), len(like))
        return like[:batch], previous[:batch].to(like)

    def store(self, embedding: Tensor) -> None:
        """Remember the embedding (B, C, *spatial) of the step that ends."""
        if torch.isfinite(embedding).all():
            self.content = {"embedding": embedding.detach()}
        else:
            self.rejected += 1


class Queue(Memory):
    """The latest labelled embeddings of earlier training batches, oldest first.

    Args:
        capacity: how many rows at most.
    """

    def __init__(self, capacity: int):
        super().__init__()
        self.capacity = capacity

    def recall(self) -> tuple[Tensor, Tensor] | None:
        """Embeddings (Q, D) and labels (Q,), Q <= capacity; None before the first step."""
        return (self.content["embeddings"], self.content["labels"]) if self.content else None

    def set_extra_state(self, state: dict[str, object]) -> None:
        """Take up what a checkpoint holds, which may be that of a longer queue."""
        super().set_extra_state(state)
        self.content = {key: rows[-self.capacity :] for key, rows in self.content.items()}

    def store(self, embeddings: Tensor, labels: Tensor) -> None:
        """Add rows (N, D) with labels (N,); the oldest beyond the capacity are forgotten."""
        finite = torch.isfinite(embeddings).all(1)
        self.rejected += int((~finite).sum())
        rows = {"embeddings": embeddings.detach()[finite], "labels": labels[finite]}
        self.content = {key: torch.cat([self.content.get(key, new[:0]), new])[-self.capacity :] for key, new in rows.items()}
