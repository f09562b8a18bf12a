from __future__ import annotations

import torch
from trainers.features.passes import LOGITS, seen, target

from nnunet_fess.losses import prototype_loss
from nnunet_fess.trainers.features.prototypes import PrototypesFeature


def term(momentum: float = 0.5, ignore_label: int | None = None, voxels: int = 24) -> PrototypesFeature:
    torch.manual_seed(0)
    return PrototypesFeature(4, 3, voxels, temperature=0.1, momentum=momentum, ignore_label=ignore_label)


def test_there_is_none_before_the_first_batch():
    assert term()(seen(), LOGITS, target()) is None


def test_voxels_are_told_apart_by_the_prototypes_of_earlier_batches():
    feature = term()
    first = feature.draw(seen(0), LOGITS, target(0))
    feature(seen(0), LOGITS, target(0))
    unit = torch.nn.functional.normalize(first.rows)
    vectors = torch.stack([torch.nn.functional.normalize(unit[first.labels == k].mean(0), dim=0) for k in range(3)])
    second = feature.draw(seen(1), LOGITS, target(1))
    expected = prototype_loss(second.rows, second.labels, vectors, torch.arange(3), 0.1)
    assert torch.allclose(feature(seen(1), LOGITS, target(1)), expected)


def test_the_momentum_is_the_memorys():
    assert term(momentum=0.25).memory.momentum == 0.25


def test_a_patch_that_is_ignored_altogether_gives_zero_and_moves_nothing():
    feature = term(ignore_label=3)
    feature(seen(), LOGITS, target())
    before = feature.memory.recall()[0]
    loss = feature(seen(), LOGITS, torch.full((2, 1, 8, 8), 3))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(feature.memory.recall()[0], before)


def test_a_look_does_not_advance_the_memory():
    feature = term()
    feature(seen(), LOGITS, target(), advance=False)
    assert feature.memory.recall() is None


def test_a_resumed_term_continues_as_the_one_that_went_on():
    feature, resumed = term(), term()
    feature(seen(0), LOGITS, target(0))
    resumed.load_state_dict(feature.state_dict())
    for step in (1, 2):
        assert torch.equal(*(each(seen(step), LOGITS, target(step)) for each in (feature, resumed)))
