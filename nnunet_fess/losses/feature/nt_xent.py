"""NT-Xent between two views of the same samples (SimCLR), and its form with a queue of negatives (InfoNCE)."""

from __future__ import annotations

import torch
from pytorch_metric_learning.losses import NTXentLoss
from torch import Tensor


def nt_xent_loss(first: Tensor, second: Tensor, temperature: float = 0.5, queue: Tensor | None = None) -> Tensor:
    r"""Normalised, temperature-scaled cross entropy: which of all rows is the other view of this sample?

    .. math:: L = -\frac{1}{2B} \sum_i \log \frac{\exp(s_{i i'} / Δ)}{\exp(s_{i i'} / Δ) + \sum_{n \in N(i)} \exp(s_{in} / Δ)}

    over all 2B views i, with s the cosine similarity and i' the other view of the same sample. The negatives N(i) are all views
    of the other samples (SimCLR) or, with a queue, the queue alone (InfoNCE).

    Computed by pytorch-metric-learning.

    Args:
        first: embeddings (B, D) of one view, any floating dtype.
        second: (B, D) of the other view, same order.
        temperature: Δ > 0.
        queue: (Q, D) embeddings of other samples, which take the negatives' place; they should be detached.

    Returns:
        scalar in float32 (float64 for float64 embeddings), >= 0; 0, with zero gradient, if there are no negatives.

    Raises:
        ValueError: shapes that do not fit, Δ <= 0.

    Source: SimCLR, arXiv 2002.05709, eq. 1; InfoNCE, arXiv 1807.03748, eq. 4.

    Example:
        >>> import torch
        >>> one, other = torch.eye(2)
        >>> views = torch.stack([one, other])
        >>> nt_xent_loss(views, views, temperature=1.0)  # log(e + 2) - 1
        tensor(0.5514)
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive. Got: {temperature}")
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"both views must have the same shape (B, D). Got: {tuple(first.shape)} and {tuple(second.shape)}")
    if queue is not None and (queue.ndim != 2 or queue.shape[1] != first.shape[1]):
        raise ValueError(f"queue must be (Q, {first.shape[1]}). Got: {tuple(queue.shape)}")
    with torch.autocast(device_type=first.device.type, enabled=False):
        views = torch.cat([first, second])
        views = views if views.dtype == torch.float64 else views.float()
        others = views if queue is None else torch.cat([views, queue.to(views)])
        anchor = torch.arange(len(views), device=views.device)
        partner = anchor.roll(len(first))
        negative = torch.zeros(len(views), len(others), dtype=torch.bool, device=views.device)
        if queue is None:
            negative[:] = True
            negative[anchor, anchor] = negative[anchor, partner] = False
        else:
            negative[:, len(views) :] = True
        pairs = (anchor, partner, *negative.nonzero(as_tuple=True))
        return NTXentLoss(temperature)(views, indices_tuple=pairs, ref_emb=others)
