"""A running average of a network's weights. A control for comparisons of losses; it is no loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from nnunet_fess.trainers.embedding_tap import unwrapped


class WeightAverage:
    r"""Exponential moving average of a network's weights, which the network holds whenever it is not trained.

    .. math:: \bar w_n = m_n \bar w_{n-1} + (1 - m_n) w_n, \quad m_n = \min\left(m, \frac{n}{n + 9}\right)

    with w_n the weights after step n = 1, 2, … and w̄_0 those before the first: m_n rises to m, lest weights that know nothing
    stay for 1 / (1 - m) steps. A batch norm's statistics are averaged alike; buffers of whole numbers are taken as they are.

    Values change places, not tensors: optimizer, DDP and a compiled network go on with what they hold. torch's `AveragedModel`
    would copy the network with its hooks and wrappers; its way to average is used.

    Args:
        network: nnU-Net's, wrapped or not.
        momentum: m, between 0 and 1.
    """

    def __init__(self, network: nn.Module, momentum: float) -> None:
        self.momentum = momentum
        self.steps = 0
        self._network = unwrapped(network)
        self._away: dict[str, Tensor] = {}  # of weights and average what the network does not hold; nothing before training
        self._averaged = False  # whether it holds the average

    @torch.no_grad()
    def train(self) -> None:
        """Have the network hold its own weights, as for training steps."""
        if not self._away:
            self._away = {name: values.clone() for name, values in self._held().items()}
        elif self._averaged:
            self._swap()

    @torch.no_grad()
    def validate(self) -> None:
        """Have the network hold the average; without any training step, the weights are that."""
        if self._away and not self._averaged:
            self._swap()

    @contextmanager
    def validated(self) -> Iterator[None]:
        """The network holds the average within the block, and behind it what it held before."""
        averaged = self._averaged
        self.validate()
        try:
            yield
        finally:
            if self._away and not averaged:
                self.train()

    @torch.no_grad()
    def update(self) -> None:
        """Take the weights of one more training step in; the network holds them."""
        self.steps += 1
        held = self._held()
        mean = [name for name, values in held.items() if values.is_floating_point()]
        momentum = min(self.momentum, self.steps / (self.steps + 9))
        get_ema_multi_avg_fn(momentum)([self._away[name] for name in mean], [held[name] for name in mean], self.steps)
        for name in held.keys() - set(mean):
            self._away[name].copy_(held[name])

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint with the average in place of the weights needs besides: to be called while the network holds it."""
        return {"weights": self._away, "steps": self.steps}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint whose network was loaded; of a training without average, its weights are the first."""
        device = {name: values.device for name, values in self._held().items()}
        self._away = {name: values.to(device[name], copy=True) for name, values in state.get("weights", {}).items()}
        self._averaged = bool(self._away)
        self.steps = state.get("steps", 0)

    def _held(self) -> dict[str, Tensor]:
        """Weights and buffers of the network, each once: nnU-Net's decoder has the encoder's under a second name."""
        return {name: values.detach() for name, values in [*self._network.named_parameters(), *self._network.named_buffers()]}

    def _swap(self) -> None:
        for name, values in self._held().items():
            kept = values.clone()
            values.copy_(self._away[name])
            self._away[name].copy_(kept)
        self._averaged = not self._averaged
