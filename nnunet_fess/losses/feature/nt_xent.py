"""NT-Xent between two views of the same samples (SimCLR), and its form with a queue of negatives (InfoNCE)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.feature.unit import products, unit


def nt_xent_loss(first: Tensor, second: Tensor, temperature: float = 0.5, queue: Tensor | None = None) -> Tensor:
    r"""Normalised, temperature-scaled cross entropy: which of all rows is the other view of this sample?

    .. math:: L = -\frac{1}{2B} \sum_i \log \frac{\exp(s_{i i'} / Δ)}{\exp(s_{i i'} / Δ) + \sum_{n \in N(i)} \exp(s_{in} / Δ)}

    over all 2B views i, with s the cosine similarity and i' the other view of the same sample. The negatives N(i) are all views
    of the other samples (SimCLR) or, with a queue, the queue alone (InfoNCE).

    Memory grows with the number of views times that of candidates. At any temperature the gradient keeps its digits: a hard
    pair is as far from its limit as the formula says.

    Args:
        first: embeddings (B, D) of one view, any floating dtype.
        second: (B, D) of the other view, same order.
        temperature: Δ > 0, finite.
        queue: (Q, D) embeddings of other samples, which take the negatives' place; they should be detached.

    Returns:
        scalar in float32 (float64 for float64 embeddings), >= 0; 0, with zero gradient, if there are no negatives.

    Raises:
        ValueError: shapes that do not fit, Δ <= 0 or infinite.

    Source: SimCLR, arXiv 2002.05709, eq. 1; InfoNCE, arXiv 1807.03748, eq. 4.

    Example:
        >>> import torch
        >>> one, other = torch.eye(2)
        >>> views = torch.stack([one, other])
        >>> nt_xent_loss(views, views, temperature=1.0)  # log(e + 2) - 1
        tensor(0.5514)
    """
    check_number("temperature", temperature, above=0)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"both views must have the same shape (B, D). Got: {tuple(first.shape)} and {tuple(second.shape)}")
    if queue is not None and (queue.ndim != 2 or queue.shape[1] != first.shape[1]):
        raise ValueError(f"queue must be (Q, {first.shape[1]}). Got: {tuple(queue.shape)}")
    views = unit(torch.cat([first, second]))
    candidates = views if queue is None else unit(queue.to(views.dtype))
    partners = views.roll(len(first), 0)
    if len(candidates) <= (2 if queue is None else 0):
        return views.sum() * 0
    scores = products(views, candidates)
    negative = torch.ones_like(scores, dtype=torch.bool)
    if queue is None:
        anchor = torch.arange(len(views), device=views.device)
        negative[anchor, anchor] = negative[anchor, anchor.roll(len(first))] = False
    above = scores - (views * partners).sum(1, keepdim=True)  # how much more similar than the partner
    hardest = (above / temperature).masked_fill(~negative, -torch.inf).logsumexp(1)
    return -F.logsigmoid(-hardest).mean()  # log(1 + Σ exp((s_n - s_p) / Δ))
