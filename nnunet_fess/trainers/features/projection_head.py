"""The head through which pooled features go before they are compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_fess.losses.feature.unit import products

# SimCLR's, and that of most work since: similarities are compared in 128 dimensions.
_PROJECTED = 128


class ProjectionHead(nn.Sequential):
    """Pooled embedding (N, channels) → (N, 128), in float32: linear, ReLU, linear, as in SimCLR (arXiv 2002.05709, 2.1)."""

    def __init__(self, channels: int):
        super().__init__(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, _PROJECTED))

    def forward(self, pooled: Tensor) -> Tensor:
        """The projection; NaN where the embedding is not finite."""
        first, activation, second = self
        projected = _in_float32(second, activation(_in_float32(first, pooled.float())))
        # ReLU makes 0 of -inf: such an embedding could leave here, and be remembered, as a finite one.
        return projected.masked_fill(~torch.isfinite(pooled).all(1, keepdim=True), torch.nan)


def _in_float32(layer: nn.Module, rows: Tensor) -> Tensor:
    """A linear layer whose gradient is in float32, too, when `backward` is called inside of autocast."""
    assert isinstance(layer, nn.Linear)
    return products(rows, layer.weight) + layer.bias
