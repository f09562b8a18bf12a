"""UNETR, from MONAI's parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_fess.networks.encoder_decoder import Decoder, Encoder, EncoderDecoder, parts_of_monai

# Side of a token, and the layers of the transformer whose hidden states are skip connections.
TOKEN, _SKIPS = 16, (3, 6, 9)


class UNETR(EncoderDecoder):
    """UNETR: a vision transformer over tokens of 16 voxels a side as encoder, convolutions as decoder.

    It computes what `monai.networks.nets.UNETR` does, with its default sizes if none are given. The bottleneck, for feature
    terms, is the transformer's last hidden state as a map. The position embedding fixes the patch size.

    Source: Hatamizadeh et al. 2022, UNETR, arXiv 2103.10504, Fig. 2.

    Args:
        input_channels: of the image.
        num_classes: channels of the logits.
        patch_size: voxels per axis, multiples of 16.
        features: of the first convolutional stage.
        hidden: length of a token; `heads` divides it.
        mlp: width of the transformer's linear layers.
        heads: of the attention.
        deep_supervision: see `EncoderDecoder`.
        strides: of deep supervision, for nnU-Net alone.

    Shape:
        image (B, input_channels, *patch_size) → logits (B, num_classes, *patch_size).
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        patch_size: Sequence[int],
        features: int = 16,
        hidden: int = 768,
        mlp: int = 3072,
        heads: int = 12,
        deep_supervision: bool = False,
        strides: Any = None,
    ):
        with parts_of_monai("UNETR"):
            from monai.networks.nets.unetr import UNETR as Monai

            whole = Monai(
                in_channels=input_channels,
                out_channels=num_classes,
                img_size=tuple(patch_size),
                feature_size=features,
                hidden_size=hidden,
                mlp_dim=mlp,
                num_heads=heads,
                norm_name="instance",
                spatial_dims=len(patch_size),
            )
        super().__init__(_UNETREncoder(whole, features, hidden), _UNETRDecoder(whole), deep_supervision)


class _UNETREncoder(Encoder):
    def __init__(self, whole: Any, features: int, hidden: int):
        super().__init__()
        self.vit, self.image = whole.vit, whole.encoder1
        self.output_channels = [features] + [hidden] * (len(_SKIPS) + 1)
        for block in self.vit.blocks:
            # Never called here. Parameters without gradient would stop DDP, and old and new MONAI differ in them.
            block.norm_cross_attn = block.cross_attn = nn.Identity()
        self._cells = tuple(whole.feat_size)

    def forward(self, image: Tensor) -> list[Tensor]:
        last, hidden = self.vit(image)
        return [self.image(image), *(self._as_map(hidden[layer]) for layer in _SKIPS), self._as_map(last)]

    def _as_map(self, tokens: Tensor) -> Tensor:
        """(B, N, C) → (B, C, *cells)."""
        return tokens.transpose(1, 2).unflatten(2, self._cells).contiguous()


class _UNETRDecoder(Decoder):
    def __init__(self, whole: Any):
        super().__init__()
        self.skips = nn.ModuleList([whole.encoder2, whole.encoder3, whole.encoder4])
        self.stages = nn.ModuleList([whole.decoder5, whole.decoder4, whole.decoder3, whole.decoder2])
        self.out = whole.out

    def forward(self, skips: list[Tensor], size: torch.Size) -> Tensor:
        image, *hidden, found = skips
        shallow = [image, *(convolve(tokens) for convolve, tokens in zip(self.skips, hidden, strict=True))]
        for stage, skip in zip(self.stages, reversed(shallow), strict=True):
            found = stage(found, skip)
        logits: Tensor = self.out(found)
        return logits
