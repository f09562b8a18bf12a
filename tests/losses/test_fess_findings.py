"""Three findings about FESS as published (arXiv 2402.08582), one test each. docs/explanation/fess.md tells the story."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nnunet_fess.losses import DiceLoss, fess_contrastive_loss


class TinyUNet(nn.Module):
    """Encoder, bottleneck, one skip connection, decoder: all that the findings need of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.LeakyReLU())
        self.bottleneck = nn.Sequential(nn.Conv3d(4, 8, 3, stride=2, padding=1), nn.LeakyReLU())
        self.decoder = nn.Conv3d(12, 2, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and bottleneck."""
        skip = self.encoder(image)
        embedding = self.bottleneck(skip)
        up = nn.functional.interpolate(embedding, scale_factor=2.0)
        return self.decoder(torch.cat([skip, up], 1)), embedding


def similarities(present: Tensor, previous: Tensor) -> Tensor:
    """S_bc of the paper, one channel after the other."""
    rows = [
        torch.dot(z.flatten() / z.norm(), other.flatten() / other.norm())
        for sample, other_sample in zip(present, previous, strict=True)
        for z, other in zip(sample, other_sample, strict=True)
    ]
    return torch.stack(rows)


def l_con(scores: Tensor, temperature: float = 0.5, eta: float = 1.0) -> Tensor:
    """The paper's formula over the B·C similarities, with the code's mean."""
    return -eta * (scores / temperature).log_softmax(0).mean()


@pytest.fixture
def scene() -> tuple[TinyUNet, Tensor, Tensor]:
    """A network, a batch and its labels, in float64 so that a zero is a zero."""
    torch.manual_seed(0)
    network = TinyUNet().double()
    image = torch.randn(2, 1, 8, 8, 8, dtype=torch.float64)
    return network, image, (image > 0.5).long()


def gradient(loss: Tensor, network: nn.Module) -> Tensor:
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(network.parameters()))])


def test_finding_1_the_same_batch_twice_trains_on_half_the_dice_alone(scene):
    """The released loop passes one batch through the same weights twice: S = 1, L_con constant, no gradient left."""
    network, image, labels = scene
    (logits, present), (_, previous) = network(image), network(image)
    scores = similarities(present, previous)
    contrast = l_con(scores)
    dice = DiceLoss()(logits, labels)
    trained = gradient(0.5 * dice + 0.5 * contrast, network)
    half_dice = gradient(0.5 * DiceLoss()(network(image)[0], labels), network)
    assert torch.allclose(scores, torch.ones_like(scores), atol=1e-12, rtol=0)
    assert contrast.item() == pytest.approx(math.log(2 * 8), abs=1e-12)  # log(B·C)
    assert (trained - half_dice).abs().max() < 1e-14
    assert half_dice.abs().max() > 1e-3


def test_finding_2_with_two_batches_it_is_a_uniformity_term_without_positives_and_negatives():
    """Any S with equal entries is a minimum: agreeing, opposed or unrelated batches; which pair has which S does not matter."""
    torch.manual_seed(0)
    scores = torch.empty(16, dtype=torch.float64).uniform_(-1, 1).requires_grad_()
    equal = [l_con(torch.full((16,), level, dtype=torch.float64)) for level in (1.0, 0.0, -1.0)]
    assert [value.item() for value in equal] == pytest.approx([math.log(16)] * 3, abs=1e-12)
    assert l_con(scores) > math.log(16)
    assert l_con(scores[torch.randperm(16)]).item() == pytest.approx(l_con(scores).item(), abs=1e-12)
    # Its gradient, (softmax - 1/N)/Δ, pushes what lies above the common level down and what lies below up: towards equality.
    slope = torch.autograd.grad(l_con(scores), scores)[0]
    level = 0.5 * (scores / 0.5).logsumexp(0).sub(math.log(16)).detach()
    assert torch.equal(slope > 0, scores.detach() > level)


def test_finding_3_eta_decides_whether_the_term_counts_at_all(scene):
    """At the published η = 1e-5 the term moves the bottleneck by < 0.1 % of what Dice does, at nnU-Net's rate by > 1 %."""
    network, image, labels = scene
    logits, present = network(image)
    previous = network(torch.randn_like(image))[1].detach()

    def share(eta: float) -> float:
        dice, contrast = (
            torch.autograd.grad(loss, present, retain_graph=True)[0].norm()
            for loss in (DiceLoss()(logits, labels), fess_contrastive_loss(present, previous, learning_rate=eta))
        )
        return float(contrast / dice)

    assert share(1e-5) < 1e-3
    assert share(1e-2) > 1e-2
