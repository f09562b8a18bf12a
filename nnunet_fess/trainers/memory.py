"""What a feature term remembers of earlier batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_fess.losses.feature.unit import products, unit


class Memory(nn.Module):
    """Content that is part of the `state_dict`, so that a resumed training continues with the batches it stopped after.

    What is stored is detached from the graph. A non-finite embedding is never stored (it would poison later steps); it is
    counted instead.

    Attributes:
        rejected: how many were.
        steps: how often something was to be stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rejected = 0
        self.steps = 0
        self.content: dict[str, Tensor] = {}

    def get_extra_state(self) -> dict[str, object]:
        """What goes into a checkpoint."""
        return {"content": self.content, "rejected": self.rejected, "steps": self.steps}

    def _finite(self, embeddings: Tensor) -> Tensor:
        """Which rows (N, D) can be remembered, (N,); the others are counted."""
        finite = torch.isfinite(embeddings).all(1)
        self.rejected += int((~finite).sum())
        return finite

    def set_extra_state(self, state: dict[str, object]) -> None:
        """Take up what a checkpoint holds."""
        self.content = state["content"]  # type: ignore[assignment]
        self.rejected = state["rejected"]  # type: ignore[assignment]
        self.steps = state.get("steps", 0)  # type: ignore[assignment]  # before, nothing asked for it


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
        self.steps += 1
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
        self._forget()

    def store(self, embeddings: Tensor, labels: Tensor, **more: Tensor) -> None:
        """Add rows (N, D) with labels (N,) and more columns (N, …); the oldest beyond the capacity are forgotten."""
        self.steps += 1
        finite = self._finite(embeddings)
        rows = {"embeddings": embeddings.detach()[finite], "labels": labels[finite]}
        rows |= {key: column[finite] for key, column in more.items()}
        self.content = {key: torch.cat([self.content.get(key, new[:0]), new]) for key, new in rows.items()}
        self._forget()

    def _forget(self) -> None:
        self.content = {key: rows[-self.capacity :] for key, rows in self.content.items()}


class BalancedQueue(Queue):
    """A queue that is shared equally by the labels that it has met: of each, the latest are remembered."""

    def _forget(self) -> None:
        if not self.content:
            return
        labels = self.content["labels"]
        of = (labels[:, None] == labels.unique()).flip(0)
        age = ((of.cumsum(0) * of).sum(1)).flip(0)  # 1 for the latest of its label
        young = age <= max(1, self.capacity // max(1, of.shape[1]))
        self.content = {key: rows[young] for key, rows in self.content.items()}


class ClassPrototypes(Memory):
    """One unit vector per class, the mean of its embeddings with a momentum over the batches.

    Args:
        num_classes: K.
        momentum: m in [0, 1): a batch moves a class's vector p to the direction of m·p + (1 - m)·(the batch's mean direction).
    """

    def __init__(self, num_classes: int, momentum: float):
        super().__init__()
        self.num_classes = num_classes
        self.momentum = momentum

    def recall(self) -> tuple[Tensor, Tensor] | None:
        """Vectors (P, D) and classes (P,) of those met so far; None before the first step."""
        if not self.content:
            return None
        met = self.content["met"]
        return self.content["vectors"][met], met.nonzero()[:, 0]

    def store(self, embeddings: Tensor, labels: Tensor) -> None:
        """Move the vectors of the classes of these rows (N, D), labels (N,); a class met for the first time takes the mean."""
        self.steps += 1
        finite = self._finite(embeddings)
        rows, labels = unit(embeddings.detach()[finite]), labels[finite]
        member = (labels == torch.arange(self.num_classes, device=labels.device)[:, None]).to(rows)
        mean = unit(products(member, rows.mT))  # the direction of a sum is that of the mean
        here = member.any(1)
        vectors = self.content.get("vectors", torch.zeros_like(mean))
        met = self.content.get("met", torch.zeros_like(here))
        moved = unit(self.momentum * vectors + (1 - self.momentum) * mean)
        now = torch.where(met[:, None], moved, mean)
        self.content = {"vectors": torch.where(here[:, None], now, vectors), "met": met | here}
