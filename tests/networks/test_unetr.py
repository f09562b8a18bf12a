from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNETR as Monai

from nnunet_fess.networks.unetr import UNETR

SIZES = {"hidden_size": 96, "mlp_dim": 192, "num_heads": 4, "feature_size": 4}


@pytest.mark.parametrize("patch", [(32, 48), (32, 16, 32)])
def test_computes_what_monai_s_does(patch):
    monai = Monai(2, 3, patch, spatial_dims=len(patch), **SIZES).eval()
    ours = UNETR(2, 3, patch_size=patch, hidden=96, mlp=192, heads=4, features=4).eval()
    names = {"vit": "encoder.vit", "encoder1": "encoder.image", "out": "decoder.out"}
    names |= {f"encoder{number}": f"decoder.skips.{number - 2}" for number in (2, 3, 4)}
    names |= {f"decoder{number}": f"decoder.stages.{5 - number}" for number in (5, 4, 3, 2)}
    ours.load_state_dict(
        {
            f"{names[key.split('.')[0]]}.{key.split('.', 1)[1]}": value
            for key, value in monai.state_dict().items()
            if "cross_attn" not in key  # never called
        }
    )
    image = torch.randn(1, 2, *patch)
    assert torch.equal(ours(image), monai(image))


def test_the_bottleneck_is_the_last_hidden_state_cell_by_cell():
    network = UNETR(1, 2, patch_size=(32, 48), hidden=96, mlp=192, heads=4, features=4).eval()
    image = torch.randn(1, 1, 32, 48)
    last, _ = network.encoder.vit(image)
    bottleneck = network.encoder(image)[-1]
    assert torch.equal(bottleneck[0, :, 1, 2], last[0, 1 * 3 + 2])
