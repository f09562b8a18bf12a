"""Several losses of the network's output as one, with weights that may change from epoch to epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Blend(nn.Module):
    r"""A weighted sum of losses of one scale.

    .. math:: L = \sum_k w_k L_k(x, y)

    Args:
        losses: name → loss of (net_output, target), a scalar.
        weights: name → w_k, or a function that tells them at the time of the call; a loss with weight 0 is not computed.

    Attributes:
        weighing: what was given as weights.
        latest: name → w_k L_k of the latest call, without gradient; they add up to what it returned.

    Raises:
        ValueError: weights that are not named as the losses are, or of which none counts.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | Callable[[], Mapping[str, float]]):
        super().__init__()
        self.losses = nn.ModuleDict(dict(losses))
        self.scheduled = callable(weights)
        self.weighing = weights
        self.latest: dict[str, Tensor] = {}
        self.weights()

    def weights(self) -> dict[str, float]:
        """w_k, now."""
        weights = dict(self.weighing() if callable(self.weighing) else self.weighing)
        if weights.keys() != set(self.losses) or not any(weights.values()):
            raise ValueError(f"weights of {sorted(self.losses)} expected, not all of them 0. Got: {weights}")
        return weights

    def forward(self, net_output: Tensor, target: Tensor) -> Tensor:
        """The weighted sum, a scalar."""
        terms = {name: weight * self.losses[name](net_output, target) for name, weight in self.weights().items() if weight}
        self.latest = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(terms.values())).sum()

    def extra_repr(self) -> str:
        """The weights, which the modules do not tell."""
        return f"weights={self.weights()}" + (", scheduled" if self.scheduled else "")
