"""What nnU-Net asks of a network, for each of ours, in 2-D and 3-D."""

from __future__ import annotations

import builtins

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_fess.errors import UserError
from nnunet_fess.networks.catalogue import NETWORKS
from nnunet_fess.trainers.deep_supervision import has_deep_supervision, has_switch
from nnunet_fess.trainers.embedding_tap import EmbeddingTap


def made(name: str, patch=(32, 32, 48), channels: int = 2, classes: int = 3, deep: bool | None = False):
    planned = NETWORKS[name].architecture(patch, cpu=True)
    arguments = planned["network_class_name"], planned["arch_kwargs"], planned["_kw_requires_import"]
    return get_network_from_plans(*arguments, channels, classes, deep_supervision=deep)


@pytest.fixture(params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture(params=[(32, 48), (32, 32, 48)], ids=["2d", "3d"])
def patch(request):
    return request.param


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_logits_of_the_image_s_size_for_any_number_of_channels(name, patch, channels):
    network = made(name, patch, channels)
    assert network(torch.randn(2, channels, *patch)).shape == (2, 3, *patch)


def test_every_parameter_learns(name, patch):
    network = made(name, patch)
    network(torch.randn(2, 2, *patch)).square().mean().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


def test_predicts_the_same_from_a_saved_state(name, patch):
    one, other = made(name, patch).eval(), made(name, patch, deep=True).eval()
    other.load_state_dict(one.state_dict())
    other.decoder.deep_supervision = False  # as nnU-Net does
    image = torch.randn(1, 2, *patch)
    assert torch.equal(one(image), other(image))


def test_stock_nnunet_gets_a_second_scale_that_it_weighs_with_zero(name, patch):
    network = made(name, patch, deep=True).eval()
    _, half = network(torch.randn(1, 2, *patch))
    assert half.shape[2:] == tuple(size // 2 for size in patch)
    assert len(NETWORKS[name].architecture(patch)["arch_kwargs"]["strides"]) == 3  # nnU-Net drops the last and weighs 1, 0


def test_says_that_it_has_no_deep_supervision(name):
    network = made(name)
    assert has_switch(network)
    assert not has_deep_supervision(network)


def test_feature_terms_read_the_bottleneck(name, patch):
    network = made(name, patch)
    tap = EmbeddingTap(network)
    network(torch.randn(2, 2, *patch))
    seen = tap.take()
    assert [skip.shape[1] for skip in seen.skips] == tap.channels
    assert tuple(seen.skips[-1].shape[2:]) == tuple(size // 16 for size in patch)


def test_feature_terms_read_what_the_logits_are_made_of(name, patch):
    network = made(name, patch)
    tap = EmbeddingTap(network)
    channels = tap.decoder_channels()
    logits = network(torch.randn(1, 2, *patch))
    decoded = tap.take().decoded
    coarser = 16 if name == "deeplabv3" else 1
    assert decoded.shape == (1, channels, *(size // coarser for size in patch))
    made_of_them = network.decoder.out(decoded)
    assert made_of_them.shape[1] == 3
    assert coarser > 1 or torch.allclose(made_of_them, logits)


def test_memory_grows_with_the_patch(name):
    network = made(name, (32, 32, 32))
    small = network.compute_conv_feature_map_size((32, 32, 32))
    if name == "unetr":
        assert small > 0  # its patch is fixed
    else:
        assert network.compute_conv_feature_map_size((64, 32, 32)) == pytest.approx(2 * small, rel=0.01)


def test_memory_counts_every_convolution():
    """One stage written out: V-Net's first convolution puts out 4 maps of 32³, and so on; nothing is counted twice."""
    network = made("vnet", (32, 32, 32), channels=1)
    seen = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d | torch.nn.ConvTranspose3d):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.numel()))
    network.eval()(torch.zeros(1, 1, 32, 32, 32))
    assert sum(seen) == made("vnet", (32, 32, 32), channels=1).compute_conv_feature_map_size((32, 32, 32))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module named 'monai'", name="monai"), "and monai is not installed.*pip install 'nnunet"),
        (ImportError("cannot import name 'Rearrange'"), "be imported: cannot import name 'Rearrange'.*--upgrade 'nnunet"),
    ],
    ids=["missing", "broken"],
)
@pytest.mark.parametrize("network", ["vnet", "unetr"])
def test_a_missing_package_is_named_when_the_network_is_built(monkeypatch, network, error, said):
    planned = NETWORKS[network].architecture([32, 32, 32], cpu=True)
    real = builtins.__import__

    def no_monai(name, *arguments, **keywords):
        if name.startswith("monai"):
            raise error
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", no_monai)
    with pytest.raises(UserError, match=rf"{said}-fess\[networks\]'"):
        get_network_from_plans(planned["network_class_name"], planned["arch_kwargs"], [], 1, 2, deep_supervision=False)
