from __future__ import annotations

import pytest
import torch
from trainers.features.passes import LOGITS, encode, seen, target

from nnunet_fess.losses import nt_xent_loss
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features import two_views
from nnunet_fess.trainers.features.two_views import TwoViewsFeature


@pytest.fixture(autouse=True)
def fixed_view(monkeypatch):
    monkeypatch.setattr(two_views, "intensity_view", lambda image, channels: 2 * image)


def projections(term: TwoViewsFeature, a_pass: TrainingPass) -> list[torch.Tensor]:
    return [term.head(encode(image)[-1].mean((2, 3))) for image in (a_pass.image, 2 * a_pass.image)]


def test_sim_clr_is_nt_xent_between_the_batch_and_its_view():
    term = TwoViewsFeature(channels=4, image_channels=1, temperature=0.5)
    expected = nt_xent_loss(*projections(term, seen()), temperature=0.5)
    assert torch.allclose(term(seen(), LOGITS, target()), expected)


def test_info_nce_takes_its_negatives_from_earlier_batches():
    term = TwoViewsFeature(channels=4, image_channels=1, temperature=0.1, queue=8)
    assert term(seen(0), LOGITS, target()) is None
    earlier = torch.cat(projections(term, seen(0)))
    expected = nt_xent_loss(*projections(term, seen(1)), temperature=0.1, queue=earlier)
    assert torch.allclose(term(seen(1), LOGITS, target()), expected)


def test_a_look_does_not_advance_the_memory():
    term = TwoViewsFeature(channels=4, image_channels=1, temperature=0.1, queue=8)
    term(seen(), LOGITS, target(), advance=False)
    assert term.memory.recall() is None
