"""Supervised contrast: embeddings of one class attract, of different classes repel each other, across batches."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_fess.losses.feature.unit import products, unit


def sup_con_loss(
    embeddings: Tensor,
    labels: Tensor,
    temperature: float = 0.1,
    queue: Tensor | None = None,
    queue_labels: Tensor | None = None,
) -> Tensor:
    r"""Supervised contrastive loss of a batch against itself and a queue of earlier batches.

    .. math:: L = -\frac{1}{|A|} \sum_{i \in A} \frac{1}{|P(i)|} \sum_{p \in P(i)}
        \log \frac{\exp(s_{ip} / Δ)}{\sum_{r \ne i} \exp(s_{ir} / Δ)}

    with s the cosine similarity, r over the other rows of the batch and all of the queue, P(i) those of them with the label of
    i, and A the rows of the batch with at least one such partner. Its minimum, where all classes are told apart, is the mean
    of log |P(i)|.

    Memory grows with the number of rows times that of candidates.

    Args:
        embeddings: (N, D), any floating dtype.
        labels: (N,) integers.
        temperature: Δ > 0.
        queue: (Q, D) earlier embeddings; they should be detached.
        queue_labels: (Q,) their labels.

    Returns:
        scalar in float32 (float64 for float64 embeddings), >= 0; 0, with zero gradient, if no row has a partner or none has
        a row of another label to tell it from.

    Raises:
        ValueError: shapes that do not fit, Δ <= 0.

    Source: arXiv 2004.11362, eq. 2 (L_out); across batches: cross-batch memory, arXiv 1912.06798.

    Example:
        >>> import torch
        >>> sup_con_loss(torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1]), temperature=1.0)  # log(e + 2) - 1
        tensor(0.5514)
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive. Got: {temperature}")
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
    if rows.numel() == 0:
        return rows.sum() * 0
    scores = products(rows, others) / temperature
    same = labels[:, None] == other_labels
    different = ~same
    same.fill_diagonal_(False)  # a row is no partner of its own
    partners = same.sum(1)
    anchor = (partners > 0) & different.any(1)
    # Rows that are no anchors see everything, so that their numbers, which do not count, stay finite.
    near, far = (scores.masked_fill(~mask & anchor[:, None], -torch.inf) for mask in (same, different))
    # log Σ exp over all others is that over the partners plus log(1 + far / near): so each part keeps its digits, and its
    # gradient, where classes are told apart.
    among_partners = -near.log_softmax(1).masked_fill(~same, 0).sum(1) / partners.clamp_min(1)
    each = among_partners - F.logsigmoid(near.logsumexp(1) - far.logsumexp(1))
    return each.masked_fill(~anchor, 0).sum() / anchor.sum().clamp_min(1)
