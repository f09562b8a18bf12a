"""Supervised contrast of voxels across images: a class is to look alike in one patient and in the other."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunet_fess.losses.feature.contrast import contrast, similarities


def pixel_con_loss(
    embeddings: Tensor,
    labels: Tensor,
    cases: Tensor,
    temperature: float = 0.1,
    queue: Tensor | None = None,
    queue_labels: Tensor | None = None,
    queue_cases: Tensor | None = None,
) -> Tensor:
    r"""Supervised contrastive loss of voxels against each other and a queue of earlier ones, those of other cases first.

    .. math:: L = \frac{1}{|A|} \sum_{i \in A} -\frac{1}{|P(i)|} \sum_{j \in P(i)}
        \log \frac{\exp(z_i \cdot z_j / Δ)}{\sum_{a \ne i} \exp(z_i \cdot z_a / Δ)}

    with z the rows scaled to unit length, A the rows of the batch that have a partner and a rival, and a over the other rows of
    the batch and all of the queue. P(i) are those of them with the label of i, of *other cases*. Where no other case has that
    label, they are those of the same case. Where one has it, the voxels of the same label and the same case are left out of
    P(i) and of the sum over a alike: neighbours in one image are alike without being told.

    Memory grows with the number of rows times that of candidates.

    Args:
        embeddings: (N, D), any floating dtype.
        labels: (N,) integers.
        cases: (N,) integers that tell whose voxel it is; all equal where nobody knows.
        temperature: Δ > 0, finite.
        queue: (Q, D) voxels of earlier batches; they should be detached.
        queue_labels: (Q,) their labels.
        queue_cases: (Q,) whose they are.

    Returns:
        scalar in float32 (float64 for float64 embeddings), >= 0; 0, with zero gradient, if no row has a partner or none has a
        row of another label to tell it from.

    Raises:
        ValueError: shapes that do not fit, Δ <= 0 or infinite.

    Source: Wang et al. 2021, Exploring Cross-Image Pixel Contrast for Semantic Segmentation, arXiv 2101.11939, Eq. 3, with all
    partners in the denominator as in SupCon (arXiv 2004.11362, Eq. 2); other cases first is ours.

    Example:
        >>> import torch
        >>> own_and_rival = torch.eye(2)
        >>> labels, cases = torch.tensor([0, 1]), torch.tensor([5, 5])
        >>> pixel_con_loss(own_and_rival, labels, cases, 1.0, own_and_rival, labels, cases + 1)  # log(e + 2) - 1
        tensor(0.5514)
    """
    if cases.shape != labels.shape:
        raise ValueError(f"labels and cases must have one shape (N,). Got: {tuple(labels.shape)} and {tuple(cases.shape)}")
    if (queue_labels is None) != (queue_cases is None):
        raise ValueError("queue, queue_labels and queue_cases belong together. Got only some of them.")
    scores, same = similarities(embeddings, labels, temperature, queue, queue_labels)
    different = ~same
    same.fill_diagonal_(False)  # a voxel is no partner of its own
    whose = cases
    if queue_labels is not None and queue_cases is not None:
        if queue_cases.shape != queue_labels.shape:
            raise ValueError(
                "queue_labels and queue_cases must have one shape (Q,). "
                f"Got: {tuple(queue_labels.shape)} and {tuple(queue_cases.shape)}"
            )
        whose = torch.cat([cases, queue_cases.to(cases)])
    elsewhere = same & (cases[:, None] != whose)
    return contrast(scores, torch.where(elsewhere.any(1, keepdim=True), elsewhere, same), different)
