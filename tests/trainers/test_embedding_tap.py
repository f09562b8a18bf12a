from __future__ import annotations

import pytest
import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

from nnunet_fess.testing.tiny_trainer import network_plans
from nnunet_fess.trainers.embedding_tap import EmbeddingTap
from nnunet_fess.trainers.errors import NotSupported, TrainingRefused


def make_network(network: str = "PlainConvUNet", dim: int = 3) -> torch.nn.Module:
    plans = network_plans(dim, network)
    return get_network_from_plans(
        plans["network_class_name"], plans["arch_kwargs"], plans["_kw_requires_import"], 1, 3, deep_supervision=True
    )


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_takes_the_bottleneck(name, dim):
    network = make_network(name, dim)
    tap = EmbeddingTap(network)
    image = torch.randn(2, 1, *[16] * dim)
    network(image)
    assert torch.equal(tap.take().skips[-1], network.encoder(image)[-1])


def test_the_state_dict_stays_stock():
    network = make_network()
    before = list(network.state_dict())
    EmbeddingTap(network)
    assert list(network.state_dict()) == before


def test_gradients_flow_through_the_embedding():
    network = make_network()
    tap = EmbeddingTap(network)
    network(torch.randn(2, 1, 16, 16, 16))
    tap.take().skips[-1].square().sum().backward()
    assert network.encoder.stages[0][0].convs[0].conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("how", ["eval", "no_grad"])
def test_nothing_is_kept_outside_training(how):
    network = make_network()
    tap = EmbeddingTap(network)
    network.train(how != "eval")
    with torch.set_grad_enabled(how != "no_grad"):
        network(torch.randn(1, 1, 16, 16, 16))
    with pytest.raises(TrainingRefused, match="was not seen to run"):
        tap.take()


def test_an_embedding_is_handed_out_once():
    network = make_network()
    tap = EmbeddingTap(network)
    network(torch.randn(1, 1, 16, 16, 16))
    tap.take()
    with pytest.raises(TrainingRefused, match="was not seen to run"):
        tap.take()


def test_fires_in_a_compiled_network_without_graph_break():
    network = torch.compile(make_network(), backend="eager", fullgraph=True)
    tap = EmbeddingTap(network)
    network(torch.randn(1, 1, 16, 16, 16))
    assert tap.take().skips[-1].shape == (1, 8, 4, 4, 4)


def test_fires_in_a_network_that_was_compiled_and_run_before():
    network = torch.compile(make_network(), backend="eager")
    image = torch.randn(1, 1, 16, 16, 16)
    network(image)
    tap = EmbeddingTap(network)
    network(image)
    assert tap.take().skips[-1].shape == (1, 8, 4, 4, 4)


def test_fires_beside_a_compiled_network_without_hook():
    image = torch.randn(1, 1, 16, 16, 16)
    other, network = (torch.compile(make_network(), backend="eager") for _ in range(2))
    tap = EmbeddingTap(network)
    other(image)
    network(image)
    assert tap.take().skips[-1].shape == (1, 8, 4, 4, 4)


def test_a_hook_that_does_not_fire_is_noticed():
    network = torch.compile(make_network(), backend="eager")
    tap = EmbeddingTap(network)
    tap.remove()
    network(torch.randn(1, 1, 16, 16, 16))
    with pytest.raises(TrainingRefused, match="was not seen to run"):
        tap.take()


def test_takes_the_input():
    network = make_network()
    tap = EmbeddingTap(network)
    image = torch.randn(1, 1, 16, 16, 16)
    network(image)
    assert tap.take().image is image


def test_a_second_view_is_not_taken_for_the_next_pass():
    network = make_network()
    tap = EmbeddingTap(network)
    image = torch.randn(1, 1, 16, 16, 16)
    network(image)
    tap.take().encode(image)
    with pytest.raises(TrainingRefused, match="was not seen to run"):
        tap.take()


def test_the_channels_of_all_stages_are_known():
    assert EmbeddingTap(make_network()).channels == [4, 8, 8]


def test_nnunets_primus_is_refused():
    primus = pytest.importorskip("dynamic_network_architectures.architectures.primus", exc_type=ImportError)
    network = primus.Primus(
        1, embed_dim=24, patch_embed_size=(8, 8, 8), num_classes=2, eva_depth=1, eva_numheads=2, input_shape=(16, 16, 16)
    )
    with pytest.raises(TrainingRefused, match="Primus has no convolutional encoder"):
        EmbeddingTap(network)


def test_a_network_without_bottleneck_is_refused_by_name():
    class Transformer(torch.nn.Module):
        pass

    with pytest.raises(
        TrainingRefused, match=r"Transformer has no convolutional encoder.*Supported: PlainConvUNet and Residual"
    ):
        EmbeddingTap(Transformer())


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
@pytest.mark.parametrize("deep", [True, False])
def test_takes_of_the_decoder_what_the_logits_are_made_of(name, dim, deep):
    network = make_network(name, dim)
    network.decoder.deep_supervision = deep
    tap = EmbeddingTap(network)
    assert tap.decoder_channels() == 4
    output = network(torch.randn(2, 1, *[16] * dim))
    decoded = tap.take().decoded
    assert decoded.shape == (2, 4, *[16] * dim)
    assert torch.equal(network.decoder.seg_layers[-1](decoded), output[0] if deep else output)


def test_the_decoder_is_taken_for_those_that_ask():
    network = make_network()
    tap = EmbeddingTap(network)
    network(torch.randn(1, 1, 16, 16, 16))
    assert tap.take().decoded is None


def test_gradients_flow_through_the_decoders_features():
    network = make_network()
    tap = EmbeddingTap(network)
    tap.decoder_channels()
    network(torch.randn(2, 1, 16, 16, 16))
    tap.take().decoded.square().sum().backward()
    assert network.decoder.stages[-1].convs[0].conv.weight.grad.abs().sum() > 0
    assert network.decoder.seg_layers[-1].weight.grad is None


def test_the_decoder_is_seen_in_a_compiled_network_without_graph_break():
    network = torch.compile(make_network(), backend="eager", fullgraph=True)
    tap = EmbeddingTap(network)
    tap.decoder_channels()
    network(torch.randn(1, 1, 16, 16, 16))
    assert tap.take().decoded.shape == (1, 4, 16, 16, 16)


def test_a_decoder_that_is_not_seen_is_noticed():
    network = make_network()
    tap = EmbeddingTap(network)
    tap.decoder_channels()
    network.encoder(torch.randn(1, 1, 16, 16, 16))
    with pytest.raises(TrainingRefused, match="its decoder was not seen to run"):
        tap.take()


@pytest.mark.parametrize("decoder", [None, torch.nn.Identity()], ids=["none", "one without a last layer"])
def test_a_network_without_known_decoder_is_refused_by_name(decoder):
    network = make_network()
    network.decoder = decoder
    with pytest.raises(NotSupported, match="decoder's last feature map, and PlainConvUNet has no decoder whose last layer"):
        EmbeddingTap(network).decoder_channels()
