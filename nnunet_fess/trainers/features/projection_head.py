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
        first, relu, second = self
        # Not the layers' own products, whose gradient is in half precision when `backward` is called inside of autocast.
        hidden = relu(products(pooled.float(), first.weight) + first.bias)
        projected = products(hidden, second.weight) + second.bias
        # ReLU makes 0 of -inf: such an embedding could leave here, and be remembered, as a finite one.
        return projected.masked_fill(~torch.isfinite(pooled).all(1, keepdim=True), torch.nan)
