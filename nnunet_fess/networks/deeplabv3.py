"""DeepLabV3 in two and three dimensions: a residual network whose last stage is dilated, and atrous pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nnunet_fess.networks.encoder_decoder import Decoder, Encoder, EncoderDecoder

# Output stride 16: the image is halved four times, and the last stage is dilated instead. Section 3.2 and 3.3 of the paper.
OUTPUT_STRIDE, _MULTI_GRID, _RATES, _EXPANSION = 16, (1, 2, 4), (6, 12, 18), 4


class DeepLabV3(EncoderDecoder):
    r"""DeepLabV3 on a ResNet of bottleneck blocks, in 2-D or 3-D.

    An atrous convolution of rate r samples its input r voxels apart:

    .. math:: y[i] = \sum_k x[i + r k]\, w[k]

    Stages 1 to 3 are those of a ResNet; stage 4 keeps the resolution and dilates its convolutions by 2·(1, 2, 4). Atrous
    spatial pyramid pooling puts a 1³ convolution, 3³ convolutions of rates 6, 12 and 18, and the mean of the whole map side by
    side, and a 1³ convolution over them. The logits are interpolated linearly from a sixteenth of the size.

    Different from the paper: instance norm as in nnU-Net's networks, because batches of volumes are small, and no norm over the
    mean, which has one value per channel.

    Source: Chen et al. 2017, Rethinking Atrous Convolution, arXiv 1706.05587, Eq. 1, Fig. 5; He et al. 2015, arXiv 1512.03385.

    Args:
        input_channels: of the image.
        num_classes: channels of the logits.
        dim: 2 or 3 spatial axes.
        features: of the first stage's inner convolutions; doubled in each further one.
        blocks: per stage; (3, 4, 6, 3) is ResNet-50.
        pyramid: channels of the pyramid.
        deep_supervision: see `EncoderDecoder`.
        strides: of deep supervision, for nnU-Net alone.

    Shape:
        image (B, input_channels, *spatial), more than 16 voxels on one axis → logits (B, num_classes, *spatial).
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        dim: int,
        features: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        pyramid: int = 256,
        deep_supervision: bool = False,
        strides: Any = None,
    ):
        encoder = _ResNet(dim, input_channels, features, blocks)
        super().__init__(encoder, _Pyramid(dim, encoder.output_channels[-1], pyramid, num_classes), deep_supervision)


def _convolution(dim: int, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Convolution and instance norm; the size is kept up to the stride."""
    convolution: Any = (nn.Conv2d, nn.Conv3d)[dim - 2]
    norm: Any = (nn.InstanceNorm2d, nn.InstanceNorm3d)[dim - 2]
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        convolution(inputs, outputs, kernel, stride, padding, dilation, bias=False), norm(outputs, affine=True)
    )


class _Block(nn.Module):
    """x + F(x), F three convolutions of 1, 3 and 1 voxels with few channels in between (He et al., Fig. 5, right)."""

    def __init__(self, dim: int, inputs: int, inner: int, stride: int, dilation: int):
        super().__init__()
        outputs = _EXPANSION * inner
        self.residual = nn.Sequential(
            _convolution(dim, inputs, inner, 1),
            nn.ReLU(inplace=True),
            _convolution(dim, inner, inner, 3, stride, dilation),
            nn.ReLU(inplace=True),
            _convolution(dim, inner, outputs, 1),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _convolution(dim, inputs, outputs, 1, stride)

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.residual(features) + self.shortcut(features))


class _ResNet(Encoder):
    def __init__(self, dim: int, input_channels: int, features: int, blocks: Sequence[int]):
        super().__init__()
        pool: Any = (nn.MaxPool2d, nn.MaxPool3d)[dim - 2]
        self.stem = nn.Sequential(_convolution(dim, input_channels, features, 7, 2), nn.ReLU(inplace=True))
        self.pool = pool(3, 2, 1)
        self.stages = nn.ModuleList()
        self.output_channels = [features]
        inputs = features
        for stage, (count, stride) in enumerate(zip(blocks, (1, 2, 2, 1), strict=True)):
            inner, layers = features * 2**stage, []
            for block in range(count):
                dilation = 2 * _MULTI_GRID[block % len(_MULTI_GRID)] if stage == 3 else 1
                layers.append(_Block(dim, inputs, inner, stride if block == 0 else 1, dilation))
                inputs = _EXPANSION * inner
            self.stages.append(nn.Sequential(*layers))
            self.output_channels.append(inputs)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = [self.stem(image)]
        found = self.pool(maps[0])
        for stage in self.stages:
            found = stage(found)
            maps.append(found)
        return maps


class _Pyramid(Decoder):
    def __init__(self, dim: int, inputs: int, width: int, num_classes: int):
        super().__init__()
        convolution: Any = (nn.Conv2d, nn.Conv3d)[dim - 2]
        kernels = [(1, 1), *((3, rate) for rate in _RATES)]
        self.branches = nn.ModuleList(
            nn.Sequential(_convolution(dim, inputs, width, kernel, dilation=rate), nn.ReLU(inplace=True))
            for kernel, rate in kernels
        )
        self.mean = nn.Sequential(convolution(inputs, width, 1), nn.ReLU(inplace=True))
        self.join = nn.Sequential(_convolution(dim, width * (len(kernels) + 1), width, 1), nn.ReLU(inplace=True))
        self.out = convolution(width, num_classes, 1)
        self._mode = ("bilinear", "trilinear")[dim - 2]

    def forward(self, maps: list[Tensor], size: torch.Size) -> Tensor:
        deepest = maps[-1]
        axes = tuple(range(2, deepest.ndim))
        mean = self.mean(deepest.mean(axes, keepdim=True)).expand(-1, -1, *deepest.shape[2:])
        logits = self.out(self.join(torch.cat([*(branch(deepest) for branch in self.branches), mean], dim=1)))
        return functional.interpolate(logits, size=size, mode=self._mode, align_corners=False)
