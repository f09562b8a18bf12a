"""The shape in which nnU-Net and our feature terms expect a network."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_fess.errors import UserError


class Encoder(nn.Module):
    """Image (B, channels, *spatial) → feature maps (B, C, *cells), the last of which is the bottleneck.

    Attributes:
        output_channels: C of every map.
    """

    return_skips = True
    output_channels: list[int]


class Decoder(nn.Module):
    """Feature maps and the size of the image → logits (B, classes, *spatial). nnU-Net switches `deep_supervision` on it.

    Attributes:
        out: the layer that makes the logits of the last feature map, which feature terms read.
    """

    out: nn.Module

    deep_supervision = False


class EncoderDecoder(nn.Module):
    """A network as nnU-Net makes it from plans: `network_class_name` names a subclass, `arch_kwargs` are its arguments.

    These networks were published without deep supervision, and our trainers find that out here. nnU-Net's own trainer does not
    ask: with deep supervision on, it gets the logits and, as a second scale that weighs 0, the same logits at half the size
    (`strides` in the plans announce it). That trains the same as without.

    Attributes:
        has_deep_supervision: whether there are outputs at several scales.
    """

    has_deep_supervision = False

    def __init__(self, encoder: Encoder, decoder: Decoder, deep_supervision: bool):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.decoder.deep_supervision = deep_supervision

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits (B, classes, *spatial)."""
        size = image.shape[2:]
        logits: Tensor = self.decoder(self.encoder(image), size)
        if not self.decoder.deep_supervision:
            return logits
        return [logits, functional.interpolate(logits, [max(1, round(axis / 2)) for axis in size])]

    def compute_conv_feature_map_size(self, patch_size: Sequence[int]) -> int:
        """How many numbers convolutions and linear layers put out for one patch: nnU-Net's measure of a network's memory."""
        counted = 0

        def count(module: nn.Module, inputs: Any, output: Tensor) -> None:
            nonlocal counted
            counted += output.numel()

        shadow = copy.deepcopy(self).to("meta").eval()  # sizes without numbers
        shadow.decoder.deep_supervision = False
        layers = [module for module in shadow.modules() if isinstance(module, nn.modules.conv._ConvNd | nn.Linear)]
        for layer in layers:
            layer.register_forward_hook(count)
        channels = next(layer.in_channels for layer in layers if isinstance(layer, nn.modules.conv._ConvNd))
        with torch.no_grad():
            shadow(torch.empty((1, channels, *patch_size), device="meta"))
        return counted


@contextlib.contextmanager
def parts_of_monai(network: str) -> Iterator[None]:
    """Import MONAI's parts in the block; only some networks need them.

    Raises:
        UserError: MONAI, or what it needs, is not installed, or is another version than works.
    """
    try:
        yield
    except ImportError as error:  # MONAI raises a kind of its own for what only some of its parts need
        absent = isinstance(error, ModuleNotFoundError)
        what = f"{error.name} is not installed" if absent else f"they cannot be imported: {str(error).splitlines()[0]}"
        raise UserError(
            f"the network {network} is made of MONAI's parts, and {what}. Install it, for training and for prediction:  "
            f"pip install {'' if absent else '--upgrade '}'nnunet-fess[networks]'"
        ) from error
