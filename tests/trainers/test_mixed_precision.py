from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.trainers.catalogue import FEATURE
from nnunet_fess.trainers.mixed_precision import train_in_bfloat16


class Network(nn.Module):
    """The shape of nnU-Net's: an encoder, and two scales of output."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Conv3d(1, 4, 3)
        self.head = nn.Conv3d(4, 2, 1)

    def forward(self, image):
        logits = self.head(self.encoder(image))
        return [logits, logits[..., ::2]]


IMAGE = torch.linspace(-1, 1, 5**3).view(1, 1, 5, 5, 5)


@pytest.fixture
def networks() -> tuple[Network, Network]:
    """One in mixed precision, one as it was, with the same weights."""
    mixed, plain = Network(), Network()
    plain.load_state_dict(mixed.state_dict())
    train_in_bfloat16(mixed)
    return mixed, plain


def test_training_computes_in_bfloat16(networks):
    mixed, plain = networks
    for rounded, exact in zip(mixed(IMAGE), plain(IMAGE), strict=True):
        assert not torch.equal(rounded, exact)
        torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)


def test_losses_get_float32(networks):
    assert {scale.dtype for scale in networks[0](IMAGE)} == {torch.float32}


def test_weights_and_their_gradients_stay_in_float32(networks):
    sum(scale.sum() for scale in networks[0](IMAGE)).backward()
    assert {x.dtype for p in networks[0].parameters() for x in (p, p.grad)} == {torch.float32}


def test_a_view_through_the_encoder_alone_is_in_bfloat16(networks):
    assert networks[0].encoder(IMAGE).dtype == torch.bfloat16


def test_validation_and_prediction_stay_as_they_are(networks):
    mixed, plain = (network.eval() for network in networks)
    assert all(torch.equal(x, y) for x, y in zip(mixed(IMAGE), plain(IMAGE), strict=True))


def test_the_state_dict_stays_as_it_is(networks):
    assert networks[0].state_dict().keys() == networks[1].state_dict().keys()


@pytest.mark.parametrize("name", ["nnUNetTrainerDiceCE", *(f"nnUNetTrainer{feature}CWCD" for feature in FEATURE)])
def test_every_kind_of_loss_trains(make_trainer, random_batch, name):
    trainer = make_trainer(f"{name}_bf16")
    trainer.network.train()
    for step in range(2):
        assert trainer.train_step(random_batch(trainer, step))["loss"].dtype == "float32"
    assert all(torch.isfinite(p).all() for p in trainer.network.parameters())
