from __future__ import annotations

import torch
from trainers.features.passes import LOGITS, seen, target

from nnunet_fess.losses import pixel_con_loss
from nnunet_fess.trainers.features.pixel_con import PixelConFeature


def term(queue: int = 60, voxels: int = 24, ignore_label: int | None = None) -> PixelConFeature:
    torch.manual_seed(0)
    return PixelConFeature(channels=4, voxels=voxels, temperature=0.1, queue=queue, ignore_label=ignore_label)


def test_voxels_are_contrasted_with_those_of_earlier_batches():
    feature = term()
    first = feature.draw(seen(0, ["a", "b"]), LOGITS, target(0))
    feature(seen(0, ["a", "b"]), LOGITS, target(0))
    second = feature.draw(seen(1, ["a", "c"]), LOGITS, target(1))
    expected = pixel_con_loss(
        second.rows, second.labels, second.cases, 0.1, first.rows, first.labels, first.cases
    )  # all of the first are remembered: fewer than ten of each class of each patch
    assert torch.allclose(feature(seen(1, ["a", "c"]), LOGITS, target(1)), expected)


def test_another_cases_voxels_count_otherwise_than_those_of_the_same_case():
    losses = []
    for names in (["a", "b"], ["a", "a"]):
        feature = term()
        feature(seen(0, ["a", "a"]), LOGITS, target(0))
        losses.append(feature(seen(1, names), LOGITS, target(1)).item())
    assert losses[0] != losses[1]


def test_the_first_batch_is_contrasted_with_itself():
    feature = term()
    found = feature.draw(seen(), LOGITS, target())
    expected = pixel_con_loss(found.rows, found.labels, found.cases, 0.1)
    assert torch.allclose(feature(seen(), LOGITS, target()), expected)
    assert expected > 0


def test_ten_voxels_of_each_class_of_each_patch_are_remembered():
    feature = term(queue=1000, voxels=96)
    for step in range(2):
        feature(seen(step), LOGITS, target(step))
    assert feature.memory.content["labels"].tolist() == ([0] * 10 + [1] * 10 + [2] * 10) * 4


def test_the_queue_is_never_longer_than_told():
    feature = term(queue=30)
    for step in range(3):
        feature(seen(step), LOGITS, target(step))
    assert sorted(feature.memory.recall()[1].tolist()) == [0] * 10 + [1] * 10 + [2] * 10


def test_a_patch_that_is_ignored_altogether_gives_zero_and_is_not_remembered():
    feature = term(ignore_label=3)
    loss = feature(seen(), LOGITS, torch.full((2, 1, 8, 8), 3))
    loss.backward()
    assert loss.item() == 0
    assert len(feature.memory.recall()[1]) == 0
    assert feature(seen(), LOGITS, target()).isfinite()


def test_a_look_does_not_advance_the_memory():
    feature = term()
    feature(seen(), LOGITS, target(), advance=False)
    assert feature.memory.recall() is None
    assert feature.memory.steps == 0


def test_a_resumed_term_continues_as_the_one_that_went_on():
    feature, resumed = term(), term()
    feature(seen(0, ["a", "b"]), LOGITS, target(0))
    resumed.load_state_dict(feature.state_dict())
    for step in (1, 2):
        a_pass = seen(step, ["b", "c"])
        assert torch.equal(*(each(a_pass, LOGITS, target(step)) for each in (feature, resumed)))


def test_minimising_it_tells_the_classes_apart():
    """A map of free features under labels in halves, learned with the head; at the temperature 0.1, 0.3 is a factor of 20."""
    feature, halves = term(voxels=128), torch.zeros(2, 1, 8, 8, dtype=torch.long)
    halves[..., 4:] = 1
    decoded = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    optimizer = torch.optim.Adam([decoded, *feature.parameters()], lr=0.1)
    for _ in range(40):
        a_pass = seen(0, ["a", "b"])
        object.__setattr__(a_pass, "decoded", decoded)
        optimizer.zero_grad()
        feature(a_pass, LOGITS[:, :2], halves).backward()
        optimizer.step()
    projected = feature.head(decoded.detach().movedim(1, -1).reshape(-1, 4))
    cosines = torch.nn.functional.normalize(projected) @ torch.nn.functional.normalize(projected).T
    same = halves.flatten()[:, None] == halves.flatten()
    assert cosines[same].mean() > cosines[~same].mean() + 0.3
