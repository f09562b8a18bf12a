from __future__ import annotations

import pytest
import torch
from monai.networks.nets import VNet as Monai

from nnunet_fess.networks.vnet import VNet


@pytest.mark.parametrize("dim", [2, 3])
def test_computes_what_monai_s_does(dim):
    monai, ours = Monai(dim, 2, 3).eval(), VNet(2, 3, dim=dim).eval()
    stages = ["in_tr", "down_tr32", "down_tr64", "down_tr128", "down_tr256"]
    ups = ["up_tr256", "up_tr128", "up_tr64", "up_tr32"]
    names = {old: f"encoder.stages.{index}" for index, old in enumerate(stages)}
    names |= {old: f"decoder.stages.{index}" for index, old in enumerate(ups)} | {"out_tr": "decoder.out"}
    ours.load_state_dict(
        {f"{names[key.split('.')[0]]}.{key.split('.', 1)[1]}": value for key, value in monai.state_dict().items()}
    )
    image = torch.randn(1, 2, *[32] * dim)
    assert torch.equal(ours(image), monai(image))


def test_five_channels_do_not_divide_sixteen_and_are_widened():
    assert VNet(5, 2, dim=2).encoder.widen(torch.randn(1, 5, 16, 16)).shape == (1, 16, 16, 16)
