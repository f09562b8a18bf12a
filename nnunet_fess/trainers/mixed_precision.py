"""bfloat16 for trainings on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def train_in_bfloat16(network: nn.Module) -> None:
    """Have the network's training passes computed in bfloat16 where that is safe, and its output handed over in float32.

    nnU-Net trains in mixed precision on a GPU and in float32 on a CPU, where its float16 would be slow. bfloat16 is fast on
    CPUs that know it (AVX512-BF16, AMX) and needs no loss scaling. Weights, optimizer and losses stay in float32, and so do
    validation and prediction. The network's modules and state dict stay as they are.
    """
    network.forward = _in_training(network, network.forward, hand_over=torch.float32)
    encoder = getattr(network, "encoder", None)
    if encoder is not None:  # a feature term passes further views through it alone
        encoder.forward = _in_training(encoder, encoder.forward)


def _in_training(module: nn.Module, forward: Any, hand_over: torch.dtype | None = None) -> Any:
    def mixed(image: torch.Tensor) -> Any:
        if not module.training:
            return forward(image)
        with torch.autocast("cpu", torch.bfloat16):
            output = forward(image)
        if hand_over is None:
            return output
        return [scale.to(hand_over) for scale in output] if isinstance(output, list) else output.to(hand_over)

    return mixed
