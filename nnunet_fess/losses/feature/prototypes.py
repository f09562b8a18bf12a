"""Voxels against one vector per class: drawn to that of their own, pushed from those of the others."""

from __future__ import annotations

from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.feature.contrast import contrast
from nnunet_fess.losses.feature.unit import products, unit


def prototype_loss(
    embeddings: Tensor, labels: Tensor, prototypes: Tensor, prototype_labels: Tensor, temperature: float = 0.1
) -> Tensor:
    r"""Cross entropy of the softmax over the classes' prototypes.

    .. math:: L = -\frac{1}{|A|} \sum_{i \in A} \log \frac{\exp(z_i \cdot p_{y_i} / Δ)}{\sum_k \exp(z_i \cdot p_k / Δ)}

    with z and p scaled to unit length, and A the rows whose class has a prototype, while another class has one, too.

    Args:
        embeddings: z (N, D), any floating dtype.
        labels: y (N,) integers.
        prototypes: p (K, D), one per class; they should be detached.
        prototype_labels: (K,) their classes.
        temperature: Δ > 0, finite.

    Returns:
        scalar in float32 (float64 for float64 embeddings), >= 0; 0, with zero gradient, if A is empty.

    Raises:
        ValueError: shapes that do not fit, Δ <= 0 or infinite.

    Source: after Zhou et al. 2022, Rethinking Semantic Segmentation: A Prototype View, arXiv 2203.15102, whose prototypes are
    unit vectors with a momentum, too, but several per class.

    Example:
        >>> import torch
        >>> prototype_loss(torch.eye(2), torch.arange(2), torch.eye(2), torch.arange(2), temperature=1.0)  # log(e + 1) - 1
        tensor(0.3133)
    """
    check_number("temperature", temperature, above=0)
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
        raise ValueError(f"embeddings must be (N, D) and labels (N,). Got: {tuple(embeddings.shape)} and {tuple(labels.shape)}")
    if prototypes.ndim != 2 or prototypes.shape[1] != embeddings.shape[1] or prototype_labels.shape != prototypes.shape[:1]:
        raise ValueError(
            f"prototypes must be (K, {embeddings.shape[1]}) and prototype_labels (K,). "
            f"Got: {tuple(prototypes.shape)} and {tuple(prototype_labels.shape)}"
        )
    rows = unit(embeddings)
    own = labels[:, None] == prototype_labels
    return contrast(products(rows, unit(prototypes.to(rows.dtype))) / temperature, own, ~own)
