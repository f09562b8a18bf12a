"""V-Net, from MONAI's parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nnunet_fess.networks.encoder_decoder import Decoder, Encoder, EncoderDecoder, parts_of_monai

_ACTIVATION = ("elu", {"inplace": True})


class VNet(EncoderDecoder):
    """V-Net: residual stages of 5³ convolutions, strided convolutions between them, batch norm, dropout in the deep stages.

    With `features` = 16 it computes what `monai.networks.nets.VNet` does. V-Net adds the image, repeated, to the first stage's
    output; where its channels do not divide `features`, a 1³ convolution makes `features` of them first.

    Source: Milletari et al. 2016, V-Net, arXiv 1606.04797, Fig. 2.

    Args:
        input_channels: of the image.
        num_classes: channels of the logits.
        dim: 2 or 3 spatial axes.
        features: of the first stage; doubled in each of the four further ones.
        deep_supervision: see `EncoderDecoder`.
        strides: of deep supervision, for nnU-Net alone.

    Shape:
        image (B, input_channels, *spatial), every axis a multiple of 16 → logits (B, num_classes, *spatial).
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        dim: int,
        features: int = 16,
        deep_supervision: bool = False,
        strides: Any = None,
    ):
        super().__init__(
            _VNetEncoder(dim, input_channels, features), _VNetDecoder(dim, features, num_classes), deep_supervision
        )


class _VNetEncoder(Encoder):
    def __init__(self, dim: int, input_channels: int, features: int):
        super().__init__()
        with parts_of_monai("VNet"):
            from monai.networks.nets.vnet import DownTransition as down
            from monai.networks.nets.vnet import InputTransition as first
        divides = features % input_channels == 0
        convolution: Any = nn.Conv2d if dim == 2 else nn.Conv3d
        self.widen = nn.Identity() if divides else convolution(input_channels, features, 1)
        self.stages = nn.ModuleList(
            [
                first(dim, input_channels if divides else features, features, _ACTIVATION),
                down(dim, features, 1, _ACTIVATION),
                down(dim, 2 * features, 2, _ACTIVATION),
                down(dim, 4 * features, 3, _ACTIVATION, dropout_prob=0.5),
                down(dim, 8 * features, 2, _ACTIVATION, dropout_prob=0.5),
            ]
        )
        self.output_channels = [features * 2**stage for stage in range(5)]

    def forward(self, image: Tensor) -> list[Tensor]:
        found = self.widen(image)
        skips = []
        for stage in self.stages:
            found = stage(found)
            skips.append(found)
        return skips


class _VNetDecoder(Decoder):
    def __init__(self, dim: int, features: int, num_classes: int):
        super().__init__()
        with parts_of_monai("VNet"):
            from monai.networks.nets.vnet import OutputTransition as last
            from monai.networks.nets.vnet import UpTransition as up
        self.stages = nn.ModuleList(
            [
                up(dim, 16 * features, 16 * features, 2, _ACTIVATION, dropout_prob=(0.5, 0.5)),
                up(dim, 16 * features, 8 * features, 2, _ACTIVATION, dropout_prob=(0.5, 0.5)),
                up(dim, 8 * features, 4 * features, 1, _ACTIVATION),
                up(dim, 4 * features, 2 * features, 1, _ACTIVATION),
            ]
        )
        self.out = last(dim, 2 * features, num_classes, _ACTIVATION)

    def forward(self, skips: list[Tensor], size: torch.Size) -> Tensor:
        *shallow, found = skips
        for stage, skip in zip(self.stages, reversed(shallow), strict=True):
            found = stage(found, skip)
        logits: Tensor = self.out(found)
        return logits
