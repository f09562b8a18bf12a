"""What contrastive losses of labelled rows share: similarities, and the softmax in which partners stand against rivals."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.feature.unit import products, unit


def similarities(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float,
    queue: Tensor | None = None,
    queue_labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cosine similarities of a batch's rows with themselves and with a queue, and which of these have the same label.

    Args:
        embeddings: (N, D), any floating dtype.
        labels: (N,) integers.
        temperature: Δ > 0, finite.
        queue: (Q, D) earlier embeddings.
        queue_labels: (Q,) their labels.

    Returns:
        s / Δ (N, N + Q) in float32 (float64 for float64 embeddings), and whether the labels are equal (N, N + Q).

    Raises:
        ValueError: shapes that do not fit, Δ <= 0 or infinite.
    """
    check_number("temperature", temperature, above=0)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(f"embeddings must be (N, D) and labels (N,). Got: {tuple(embeddings.shape)} and {tuple(labels.shape)}")
    if (queue is None) != (queue_labels is None):
        raise ValueError("queue and queue_labels belong together. Got only one of them.")
    rows = unit(embeddings)
    others, other_labels = rows, labels
    if queue is not None and queue_labels is not None:
        if queue.ndim != 2 or queue.shape[1] != rows.shape[1] or queue_labels.shape != queue.shape[:1]:
            raise ValueError(
                f"queue must be (Q, {rows.shape[1]}) and queue_labels (Q,). "
                f"Got: {tuple(queue.shape)} and {tuple(queue_labels.shape)}"
            )
        others = torch.cat([rows, unit(queue.to(rows.dtype))])
        other_labels = torch.cat([labels, queue_labels.to(labels)])
    return products(rows, others) / temperature, labels[:, None] == other_labels


def contrast(scores: Tensor, partners: Tensor, rivals: Tensor) -> Tensor:
    r"""How much of a softmax each row's partners get, against its rivals and against each other.

    .. math:: L = -\frac{1}{|A|} \sum_{i \in A} \frac{1}{|P(i)|} \sum_{p \in P(i)}
        \log \frac{\exp(s_{ip})}{\sum_{r \in P(i) \cup R(i)} \exp(s_{ir})}

    with A the rows that have both a partner and a rival. What is neither counts nothing.

    Args:
        scores: s (N, M), float32 or float64.
        partners: P (N, M), boolean.
        rivals: R (N, M), boolean, apart from P.

    Returns:
        scalar >= 0 in the scores' dtype; 0, with zero gradient, where A is empty.
    """
    if scores.numel() == 0:
        return scores.sum() * 0
    count = partners.sum(1)
    anchor = (count > 0) & rivals.any(1)
    # Rows that are no anchors see everything, so that their numbers, which do not count, stay finite.
    near, far = (scores.masked_fill(~mask & anchor[:, None], -torch.inf) for mask in (partners, rivals))
    # log Σ exp over all others is that over the partners plus log(1 + far / near): so each part keeps its digits, and its
    # gradient, where partners are told apart from rivals.
    among_partners = -near.log_softmax(1).masked_fill(~partners, 0).sum(1) / count.clamp_min(1)
    each = among_partners - F.logsigmoid(near.logsumexp(1) - far.logsumexp(1))
    return each.masked_fill(~anchor, 0).sum() / anchor.sum().clamp_min(1)
