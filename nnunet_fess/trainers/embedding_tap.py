"""Reads the bottleneck embedding off nnU-Net's network without changing the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_fess.trainers.errors import TrainingRefused


class EmbeddingTap:
    """A forward hook on the encoder that keeps the bottleneck of the latest training pass until it is taken.

    The network gets no new module and no new parameter: its state dict stays stock nnU-Net's. Place the tap before the first
    forward pass: a network that `torch.compile` has already traced never calls a later hook (`take` then says so).

    Args:
        network: a PlainConvUNet or ResidualEncoderUNet (2-D or 3-D), plain, compiled or wrapped for DDP.

    Raises:
        TrainingRefused: the network has no encoder that returns skip connections (Primus and other transformers).
    """

    def __init__(self, network: nn.Module):
        encoder = getattr(_unwrapped(network), "encoder", None)
        if encoder is None or not getattr(encoder, "return_skips", False):
            raise TrainingRefused(
                f"This trainer needs the bottleneck of the network, and {type(_unwrapped(network)).__name__} has no "
                "convolutional encoder to take it from. Supported: PlainConvUNet and ResidualEncoderUNet (nnU-Net's default "
                "plans and its ResEnc presets). Train this architecture with a trainer without feature term, such as "
                "nnUNetTrainerCWCD."
            )
        self._embedding: Tensor | None = None
        self._handle = encoder.register_forward_hook(self._keep)

    def take(self) -> Tensor:
        """The embedding (B, C, *spatial) of the pass just made, with its graph; it is handed out once.

        Raises:
            TrainingRefused: no pass was seen since the last call, so the feature term would silently be missing.
        """
        embedding, self._embedding = self._embedding, None
        if embedding is None:
            raise TrainingRefused(
                "The network ran, but its encoder was not seen to run, so the feature term cannot be computed. This happens "
                "when torch.compile traced the network before the trainer was initialised. Set nnUNet_compile=f "
                "and report this."
            )
        return embedding

    def remove(self) -> None:
        """Take the hook off the network."""
        self._handle.remove()

    def _keep(self, encoder: nn.Module, _inputs: tuple[Tensor, ...], skips: list[Tensor]) -> None:
        # The last skip connection is the bottleneck. Validation and inference do not train: nothing to keep there.
        if encoder.training and torch.is_grad_enabled():
            self._embedding = skips[-1]


def _unwrapped(network: nn.Module) -> nn.Module:
    """The network inside DistributedDataParallel and torch.compile, in whatever order they were put around it."""
    for attribute in ("module", "_orig_mod"):
        inner = getattr(network, attribute, None)
        if isinstance(inner, nn.Module):
            return _unwrapped(inner)
    return network
