from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_fess.trainers import parse
from nnunet_fess.trainers.cutmix import CutMix, on_scale


def numbered(batch: int, *spatial: int, channels: int = 2) -> dict[str, torch.Tensor]:
    """Every voxel says where it is, the patch in its hundreds of thousands."""
    places = torch.arange(int(np.prod(spatial))).view(1, 1, *spatial).double()
    image = torch.cat([places + 1e7 * channel for channel in range(channels)], 1)
    patches = 1e5 * torch.arange(batch).view(batch, 1, *[1] * len(spatial))
    return {"data": image + patches, "target": [places + patches], "keys": [str(number) for number in range(batch)]}


def mixed(batch: dict[str, torch.Tensor], seed: int = 0, probability: float = 1.0) -> dict[str, torch.Tensor]:
    mix = CutMix(probability)
    mix.reseed(seed)
    return mix(batch)


@pytest.mark.parametrize("spatial", [(6, 9), (4, 5, 6)])
@pytest.mark.parametrize("size", [2, 3, 5])
def test_every_patch_gets_one_box_of_another_and_keeps_the_rest(spatial, size):
    for seed in range(20):
        batch = numbered(size, *spatial)
        found = mixed(batch, seed)
        (truth,) = found["target"]
        owner = torch.div(truth, 1e5, rounding_mode="floor")[:, 0].long()
        pasted = owner != torch.arange(size).view(-1, *[1] * len(spatial))
        assert (pasted == pasted[0]).all(), "one box for all"
        edges = [torch.nonzero(pasted[0].movedim(axis, 0).flatten(1).any(1))[:, 0] for axis in range(len(spatial))]
        assert pasted[0].sum() == np.prod([len(edge) for edge in edges]) > 0
        assert all(edge[-1] - edge[0] + 1 == len(edge) for edge in edges), "a box"
        for number in range(size):
            (other,) = set(owner[number][pasted[0]].tolist())
            assert other != number
        assert torch.equal(truth % 1e5, batch["target"][0] % 1e5), "every voxel stays in its place"
        assert torch.equal(found["data"][:, 1:] - 1e7, truth), "the image goes with its truth, all channels"
        assert found["keys"] == batch["keys"]


def test_what_was_given_stays_as_it_is():
    batch = numbered(2, 6, 6)
    before = copy.deepcopy(batch)
    mixed(batch)
    assert torch.equal(batch["data"], before["data"])
    assert torch.equal(batch["target"][0], before["target"][0])


@settings(deadline=None, max_examples=40)
@given(
    shape=st.lists(st.integers(3, 12), min_size=2, max_size=3),
    scales=st.lists(st.lists(st.sampled_from([1, 0.5, 0.34, 0.25]), min_size=3, max_size=3), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
)
def test_coarser_truths_are_those_that_nnunet_makes_of_the_mixed_one(shape, scales, seed):
    downsample = DownsampleSegForDSTransform([scale[: len(shape)] for scale in [[1, 1, 1], *scales]])
    labels = torch.randint(0, 5, (3, 1, *shape), generator=torch.Generator().manual_seed(seed), dtype=torch.int16)

    def of_scales(truths: torch.Tensor) -> list[torch.Tensor]:
        each = [downsample(segmentation=truth)["segmentation"] for truth in truths]
        return [torch.stack(scale) for scale in zip(*each, strict=True)]

    found = mixed({"data": labels.float(), "target": of_scales(labels)}, seed)["target"]
    expected = of_scales(found[0])
    assert all(map(torch.equal, found, expected))


def test_a_box_between_two_coarse_voxels_leaves_them_alone():
    assert on_scale(((3, 4),), (8,), (2,)) == ((1, 1),)
    assert on_scale(((2, 8),), (8,), (2,)) == ((0, 2),)


@pytest.mark.parametrize("probability", [0.25, 1.0])
def test_as_many_steps_are_mixed_as_the_probability_says(probability):
    mix = CutMix(probability)
    mix.reseed(0)
    batch = numbered(2, 4, 4)
    steps = [mix(batch) is not batch for _ in range(2000)]
    assert np.mean(steps) == pytest.approx(probability, abs=0.03)


def test_the_box_is_as_often_large_as_small_and_anywhere():
    mix = CutMix(1.0)
    mix.reseed(0)
    batch = numbered(2, 40, 40, channels=1)
    boxes = torch.stack([(mix(batch)["data"][0, 0] >= 1e5).double() for _ in range(1000)])
    assert boxes.mean((1, 2)).quantile(torch.tensor([0.25, 0.5, 0.75]).double()).tolist() == pytest.approx(
        [0.25, 0.5, 0.75], abs=0.06
    )
    often = boxes.mean(0)
    assert torch.allclose(often, often.flip(0), atol=0.12)
    assert torch.allclose(often, often.T, atol=0.12)


def test_a_batch_of_one_is_left_alone():
    batch = numbered(1, 4, 4)
    assert mixed(batch) is batch


@pytest.mark.parametrize("value", ["0", "1p5", "2"])
def test_no_probability_is_refused(value):
    with pytest.raises(ValueError, match="cutmixX takes more than 0, at most 1"):
        parse(f"nnUNetTrainerDiceCE_cutmix{value}")


@pytest.mark.parametrize("labels", ["plain", "regions", "ignore", "regions and ignore"])
@pytest.mark.parametrize("dim", [2, 3])
def test_a_training_step_sees_the_mixed_batch_and_validation_does_not(make_trainer, random_batch, monkeypatch, labels, dim):
    trainer = make_trainer("nnUNetTrainerCE_seed0_cutmix1", labels, dim)
    trainer._cutmix.reseed(0)  # as an epoch does; a box that is drawn freely may be of no voxel
    plain, seen = random_batch(trainer), []
    monkeypatch.setattr(trainer.loss, "forward", lambda output, target: seen.append(target) or output[0].sum())
    trainer.train_step(plain)
    with torch.no_grad():
        trainer.validation_step(plain)
    (trained, validated), given = seen, plain["target"]
    assert [scale.dtype for scale in trained] == [scale.dtype for scale in given]
    assert not torch.equal(trained[0], given[0])
    assert all(map(torch.equal, validated, given))


def test_a_feature_term_and_its_look_at_the_gradient_have_the_mixed_batch(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerSupCon_seed0_cutmix1")
    trainer.dataloader_train = None
    trainer.on_train_epoch_start()
    assert np.isfinite(trainer.train_step(random_batch(trainer))["loss"])


def test_a_seed_draws_the_same_in_an_epoch_whatever_was_drawn_before(make_trainer):
    drawn = []
    for epoch in (3, 3, 4):
        trainer = make_trainer("nnUNetTrainerCE_seed0_cutmix1", initialize=False)
        torch.rand(epoch)
        trainer.current_epoch, trainer.dataloader_train = epoch, None
        trainer.network, trainer.lr_scheduler = torch.nn.Identity(), type("", (), {"step": lambda *_: None})()
        trainer.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
        trainer.on_train_epoch_start()
        drawn.append(trainer._cutmix(numbered(3, 8, 8))["data"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[1], drawn[2])


@pytest.mark.parametrize(("size", "said"), [(1, 1), (2, 0)])
def test_a_batch_of_one_is_told_once(make_trainer, monkeypatch, size, said):
    from nnunet_fess.testing.tiny_trainer import tiny_plans

    trainer = make_trainer("nnUNetTrainerCE_cutmix0p5", plans=tiny_plans(batch_size=size))
    lines: list[str] = []
    monkeypatch.setattr(trainer, "print_to_log_file", lambda *words, **_: lines.append(" ".join(map(str, words))))
    monkeypatch.setattr(type(trainer).__mro__[2], "on_train_start", lambda _: None)
    trainer.on_train_start()
    assert sum("_cutmix does nothing" in line for line in lines) == said
