"""Supervised contrast: embeddings of one class attract, of different classes repel each other, across batches."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses.feature.contrast import contrast, similarities


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
    scores, same = similarities(embeddings, labels, temperature, queue, queue_labels)
    different = ~same
    return contrast(scores, same.fill_diagonal_(False), different)  # a row is no partner of its own
