"""Reads a training pass off nnU-Net's encoder, and its decoder where asked, without changing the network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from nnunet_fess.trainers.errors import NotSupported, TrainingRefused


@dataclass(frozen=True)
class TrainingPass:
    """What a feature term sees of one training step.

    Attributes:
        image: the network's input (B, channels, *spatial).
        skips: the encoder's output, one feature map (B, C, *cells) per stage with its graph; the last is the bottleneck.
        encode: the encoder itself, for a second view: image → skips.
        decoded: the decoder's last feature map (B, C, *cells), of which the network makes its logits; None where nobody asked
            the tap for it.
        cases: whose patches they are, as nnU-Net's loader names them; None where nobody knows. Those of this process alone.
    """

    image: Tensor
    skips: list[Tensor]
    encode: Callable[[Tensor], list[Tensor]]
    decoded: Tensor | None = None
    cases: Sequence[str] | None = None


class _Kept:
    """The latest pass through a module. Apart from the tap, since a module holds its hooks: the tap holds the module."""

    def __init__(self) -> None:
        self._seen: tuple[Tensor, Any] | None = None

    def keep(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        # Validation and inference do not train: nothing to keep there.
        if module.training and torch.is_grad_enabled():
            self._seen = inputs[0], output

    def hand_over(self) -> tuple[Tensor, Any] | None:
        seen, self._seen = self._seen, None
        return seen


class EmbeddingTap:
    """Forward hooks that keep the latest training pass until it is taken: on the encoder, and on the decoder where asked.

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
        self._network, self._encoder = inner, encoder
        self._is_compiled = any(isinstance(module, torch._dynamo.OptimizedModule) for module in _layers(network))
        self._handles: list[RemovableHandle] = []
        self._kept = self._hook(encoder)
        self._kept_of_decoder: _Kept | None = None
        if self._is_compiled:
            self._encoder = torch.compile(encoder)

    def decoder_channels(self) -> int:
        """Have the decoder's last feature map taken, too; how many channels it has.

        Raises:
            NotSupported: the network has no decoder whose last layer is known.
        """
        decoder = getattr(self._network, "decoder", None)
        layers = getattr(decoder, "seg_layers", None)  # of nnU-Net's U-Nets, one per scale, the finest last
        last = layers[-1] if isinstance(layers, nn.ModuleList) and len(layers) else getattr(decoder, "out", None)
        convolutions = [] if last is None else [module for module in last.modules() if isinstance(module, _ConvNd)]
        if last is None or not convolutions:
            raise NotSupported(
                f"This trainer needs the decoder's last feature map, and {type(self._network).__name__} has no decoder whose "
                "last layer is known. Supported: PlainConvUNet and ResidualEncoderUNet (nnU-Net's default plans and its ResEnc "
                "presets), and the networks of  nnunet_fess plans --network. Train this one with a feature term that reads the "
                "encoder, such as nnUNetTrainerSupCon, or without one."
            )
        if self._kept_of_decoder is None:
            self._kept_of_decoder = self._hook(last)
        return convolutions[0].in_channels

    def _hook(self, module: nn.Module) -> _Kept:
        if self._is_compiled:
            # What torch.compile has traced, for this network or another of its class, knows nothing of the hook and would be
            # used again, since by default hooks are not among the things it checks.
            torch._dynamo.config.skip_nnmodule_hook_guards = False
            torch._dynamo.reset()
        kept = _Kept()
        self._handles.append(module.register_forward_hook(kept.keep))
        return kept

    def take(self) -> TrainingPass:
        """The pass just made; it is handed out once.

        Raises:
            TrainingRefused: no pass was seen since the last call, so the feature term would silently be missing.
        """
        image, skips = self._handed_over(self._kept, "encoder")
        if self._kept_of_decoder is None:
            return TrainingPass(image, skips, self._encode)
        decoded, _ = self._handed_over(self._kept_of_decoder, "decoder")
        return TrainingPass(image, skips, self._encode, decoded)

    @staticmethod
    def _handed_over(kept: _Kept, part: str) -> tuple[Tensor, Any]:
        seen = kept.hand_over()
        if seen is None:
            raise TrainingRefused(
                f"The network ran, but its {part} was not seen to run, so the feature term cannot be computed. This happens "
                "when torch.compile uses code that it made without the hook. Set nnUNet_compile=f and report this."
            )
        return seen

    def remove(self) -> None:
        """Take the hooks off the network."""
        for handle in self._handles:
            handle.remove()

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
