"""The contrastive term of FESS: bottleneck embeddings of the present batch against those of the previous one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.distributed import max_over_ranks, sum_over_ranks
from nnunet_fess.losses.feature.unit import unit


def fess_contrastive_loss(
    present: Tensor,
    previous: Tensor,
    temperature: float = 0.5,
    learning_rate: float = 1e-5,
    distributed: bool = False,
) -> Tensor:
    r"""Uniformity of the similarities between two batches' embeddings.

    .. math:: L_{con} = -\frac{η}{N} \sum_{bc} \log \frac{\exp(S_{bc} / Δ)}{\sum_{b'c'} \exp(S_{b'c'} / Δ)}, \quad
        S_{bc} = \sum_{xyz} \hat z_{bc}(xyz)\, \hat{\tilde z}_{bc}(xyz)

    with ẑ and its counterpart of the previous batch scaled to unit L2 norm over the spatial axes and N = B·C, as in the
    authors' code. There are no positive and negative pairs in it: the minimum over S is η·log(B·C), wherever all
    similarities are equal, which they are, with zero gradient, if both batches are the same.

    Args:
        present: embeddings (B, C, *spatial) of this batch, any floating dtype.
        previous: those of the previous training batch, same shape; they get no gradient if they are detached.
        temperature: Δ > 0.
        learning_rate: η >= 0; 1e-5 in the paper, 1e-4 by default in its code.
        distributed: take the softmax and the mean over the B·C entries of all ranks.

    Returns:
        scalar in float32 (float64 for float64 embeddings). The scale of a channel does not matter. One with
        zero norm has similarity 0 and no gradient.

    Raises:
        ValueError: shapes that differ, no spatial axes, Δ <= 0, η < 0.

    Source: arXiv 2402.08582, equation of L_con.

    Example:
        >>> import torch
        >>> z = torch.rand(2, 8, 4, 4, 4)
        >>> bool(torch.isclose(fess_contrastive_loss(z, z, learning_rate=1.0), torch.tensor(16.0).log()))
        True
    """
    _check_options(temperature, learning_rate)
    if present.shape != previous.shape:
        raise ValueError(
            f"present and previous must have the same shape (B, C, *spatial). "
            f"Got: {tuple(present.shape)} and {tuple(previous.shape)}"
        )
    if present.ndim < 3 or present.numel() == 0:
        raise ValueError(f"embeddings must be (B, C, *spatial), not empty. Got: {tuple(present.shape)}")
    with torch.autocast(device_type=present.device.type, enabled=False):
        scores = (unit(present.flatten(2)) * unit(previous.flatten(2))).sum(2) / temperature  # (B, C)
        if not distributed:
            return learning_rate * (scores.logsumexp((0, 1)) - scores.mean())
        shift = max_over_ranks(scores.detach().max())
        count = torch.full_like(shift, scores.numel())
        sums = torch.stack(((scores - shift).exp().sum(), (scores - shift).sum(), count))
        exponentials, total, count = sum_over_ranks(sums)
        return learning_rate * (exponentials.log() - total / count)


def _check_options(temperature: float, learning_rate: float) -> None:
    check_number("temperature", temperature, above=0)
    check_number("learning_rate", learning_rate, least=0)


class FESSContrastiveLoss(nn.Module):
    """Module form of `fess_contrastive_loss`, where the arguments and the equation are.

    Args:
        temperature: Δ.
        learning_rate: η; may be changed between calls.
        distributed: over all ranks.

    Shape:
        present, previous (B, C, *spatial); result: scalar.
    """

    def __init__(self, temperature: float = 0.5, learning_rate: float = 1e-5, *, distributed: bool = False) -> None:
        super().__init__()
        _check_options(temperature, learning_rate)
        self.temperature = temperature
        self.learning_rate = learning_rate
        self.distributed = distributed

    def forward(self, present: Tensor, previous: Tensor) -> Tensor:
        """L_con of the present against the previous embeddings."""
        return fess_contrastive_loss(present, previous, self.temperature, self.learning_rate, self.distributed)
