from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.networks.deeplabv3 import DeepLabV3


def tiny(dim: int = 2, **arguments) -> DeepLabV3:
    return DeepLabV3(1, 2, dim=dim, features=4, blocks=(1, 1, 1, 3), pyramid=8, **arguments)


@pytest.mark.parametrize("size", [(17, 33), (40, 56), (2, 17), (21, 17, 19), (2, 2, 17), (8, 48, 32)])
def test_any_size(size):
    assert tiny(len(size))(torch.randn(1, 1, *size)).shape == (1, 2, *size)


def test_the_last_stage_keeps_the_resolution_and_is_dilated_by_the_multi_grid():
    rates = [module.dilation[0] for module in tiny().encoder.stages[3].modules() if isinstance(module, nn.Conv2d)]
    assert [rate for rate in rates if rate > 1] == [2, 4, 8]
    maps = tiny().encoder(torch.randn(1, 1, 64, 64))
    assert [tuple(found.shape[2:]) for found in maps] == [(32, 32), (16, 16), (8, 8), (4, 4), (4, 4)]


def test_the_pyramid_has_the_paper_s_rates():
    kernels = [(branch[0][0].kernel_size[0], branch[0][0].dilation[0]) for branch in tiny().decoder.branches]
    assert kernels == [(1, 1), (3, 6), (3, 12), (3, 18)]


def test_resnet_50_has_as_many_layers_as_its_name_says():
    """50: one in the stem, three in each of 16 blocks, and the classifier, which the pyramid replaces."""
    encoder = DeepLabV3(1, 2, dim=2, features=4).encoder
    counted = [key for key, module in encoder.named_modules() if isinstance(module, nn.Conv2d) and "shortcut" not in key]
    assert len(counted) == 49


def test_batches_of_one_train():
    network = tiny(3)
    network(torch.randn(1, 1, 32, 32, 32)).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())


def test_the_mean_of_the_whole_map_reaches_every_voxel():
    """A change far away, outside the reach of the convolutions at this size, changes every voxel."""
    network = tiny().eval()
    image = torch.zeros(1, 1, 64, 64)
    changed = image.clone()
    changed[..., -1, -1] = 100
    assert (network(image) != network(changed))[..., 0, 0].any()
