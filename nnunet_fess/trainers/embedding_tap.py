"""Reads a training pass off nnU-Net's encoder without changing the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nnunet_fess.trainers.errors import NotSupported, TrainingRefused


@dataclass(frozen=True)
class TrainingPass:
    """What a feature term sees of one training step.

    Attributes:
        image: the network's input (B, channels, *spatial).
        skips: the encoder's output, one feature map (B, C, *cells) per stage with its graph; the last is the bottleneck.
        encode: the encoder itself, for a second view: image → skips.
    """

    image: Tensor
    skips: list[Tensor]
    encode: Callable[[Tensor], list[Tensor]]


class _Kept:
    """The latest pass. Apart from the tap, since an encoder holds its hooks: one that held the encoder would be a circle."""

    def __init__(self) -> None:
        self._seen: tuple[Tensor, list[Tensor]] | None = None

    def keep(self, encoder: nn.Module, inputs: tuple[Tensor, ...], skips: list[Tensor]) -> None:
        # Validation and inference do not train: nothing to keep there.
        if encoder.training and torch.is_grad_enabled():
            self._seen = inputs[0], skips

    def hand_over(self) -> tuple[Tensor, list[Tensor]] | None:
        seen, self._seen = self._seen, None
        return seen


class EmbeddingTap:
    """A forward hook on the encoder that keeps the latest training pass until it is taken.

    The network gets no new module and no new parameter: its state dict stays stock nnU-Net's. A compiled one is traced anew.

    Args:
        network: a PlainConvUNet or ResidualEncoderUNet (2-D or 3-D), plain, compiled or wrapped for DDP.

    Raises:
        NotSupported: the network has no encoder that returns skip connections (Primus and other transformers).
    """

    def __init__(self, network: nn.Module):
        inner = unwrapped(network)
        encoder = getattr(inner, "encoder", None)
        if encoder is None or not getattr(encoder, "return_skips", False):
            raise NotSupported(
                f"This trainer needs the bottleneck of the network, and {type(inner).__name__} has no convolutional encoder "
                "to take it from. Supported: PlainConvUNet and ResidualEncoderUNet (nnU-Net's default plans and its ResEnc "
                "presets), and the networks of  nnunet_fess plans --network. Train this one with a trainer "
                "without feature term, such as nnUNetTrainerCWCD."
            )
        self.channels: list[int] = list(encoder.output_channels)
        self._encoder = encoder
        if any(isinstance(module, torch._dynamo.OptimizedModule) for module in _layers(network)):
            # What torch.compile has traced, for this network or another of its class, knows nothing of the hook and would be
            # used again, since by default hooks are not among the things it checks.
            torch._dynamo.config.skip_nnmodule_hook_guards = False
            torch._dynamo.reset()
            self._encoder = torch.compile(encoder)
        self._kept = _Kept()
        self._handle = encoder.register_forward_hook(self._kept.keep)

    def take(self) -> TrainingPass:
        """The pass just made; it is handed out once.

        Raises:
            TrainingRefused: no pass was seen since the last call, so the feature term would silently be missing.
        """
        seen = self._kept.hand_over()
        if seen is None:
            raise TrainingRefused(
                "The network ran, but its encoder was not seen to run, so the feature term cannot be computed. This happens "
                "when torch.compile uses code that it made without the hook. Set nnUNet_compile=f and report this."
            )
        return TrainingPass(*seen, self._encode)

    def remove(self) -> None:
        """Take the hook off the network."""
        self._handle.remove()

    def _encode(self, image: Tensor) -> list[Tensor]:
        skips: list[Tensor] = self._encoder(image)
        self._kept.hand_over()  # the hook fired here, too; left in place, it would hide one that does not fire in the network
        return skips


def unwrapped(network: nn.Module) -> nn.Module:
    """The network inside DistributedDataParallel and torch.compile, in whatever order they were put around it."""
    return _layers(network)[-1]


def _layers(network: nn.Module) -> list[nn.Module]:
    """The network and what it wraps, from the outside in."""
    for attribute in ("module", "_orig_mod"):
        inner = getattr(network, attribute, None)
        if isinstance(inner, nn.Module):
            return [network, *_layers(inner)]
    return [network]
