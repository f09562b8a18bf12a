from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from trainers.features.passes import LOGITS, seen, target

from nnunet_fess.losses.feature.anchors import near_a_border
from nnunet_fess.trainers.features.decoder_voxels import DecoderVoxels
from nnunet_fess.trainers.features.pixel_con import PixelConFeature
from nnunet_fess.trainers.features.prototypes import PrototypesFeature
from nnunet_fess.trainers.memory import Queue

BLOCKS = torch.zeros(2, 1, 8, 8, dtype=torch.long)
BLOCKS[0, :, :, 4:] = 1
BLOCKS[1, :, :2] = 2


class Voxels(DecoderVoxels):
    """Not projected, so that each voxel can be told by its features."""

    def __init__(self, voxels=24, ignore_label=None, kind="labels"):
        super().__init__(Queue(100), 4, voxels, ignore_label, kind)
        self.head = torch.nn.Identity()


def test_a_drawn_voxel_has_the_decoders_features_and_its_own_class():
    a_pass = seen()
    found = Voxels().draw(a_pass, LOGITS, target())
    at = {tuple(a_pass.decoded[b, :, x, y].tolist()): (b, x, y) for b in range(2) for x in range(8) for y in range(8)}
    places = [at[tuple(row.tolist())] for row in found.rows]
    assert len(set(places)) == len(places) == 24
    assert found.labels.tolist() == [int(target()[b, 0, x, y]) for b, x, y in places]
    assert Counter(zip([b for b, _, _ in places], found.labels.tolist(), strict=True)) == {
        (b, label): 4 for b in range(2) for label in range(3)
    }


def test_half_of_a_class_lie_at_its_border_where_the_network_is_right():
    logits = 5.0 * torch.nn.functional.one_hot(BLOCKS[:, 0], 3).movedim(-1, 1)
    border = near_a_border(BLOCKS[:, 0])
    a_pass = replace(seen(), decoded=border[:, None].float())
    found = Voxels(voxels=32).draw(a_pass, logits, BLOCKS)
    for label in range(3):
        of_class = found.rows[found.labels == label]
        assert of_class.sum() >= len(of_class) / 2
        assert not of_class.bool().all()


def test_half_of_a_class_are_those_that_the_network_has_wrong():
    wrong = torch.zeros(2, 8, 8)
    wrong[0, 7, 7] = wrong[1, 7, 7] = 1.0
    logits = 5.0 * torch.nn.functional.one_hot(BLOCKS[:, 0], 3).movedim(-1, 1).float()
    logits[:, :, 7, 7] = 5.0 - logits[:, :, 7, 7]
    found = Voxels(voxels=128).draw(replace(seen(), decoded=wrong[:, None]), logits, BLOCKS)
    assert found.rows.sum() == 2  # one voxel in each patch, among 64 that may be drawn


def test_gradients_reach_the_decoders_features_at_the_drawn_voxels_alone():
    a_pass = seen()
    a_pass.decoded.requires_grad_()
    Voxels().draw(a_pass, LOGITS, target()).rows.sum().backward()
    assert a_pass.decoded.grad.any(1).sum() == 24


def test_ignored_voxels_are_not_drawn():
    labels = BLOCKS.masked_fill(BLOCKS == 0, 3)
    found = Voxels(ignore_label=3).draw(seen(), LOGITS, labels)
    assert set(found.labels.tolist()) == {1, 2}


def test_a_patch_that_is_ignored_altogether_gives_no_voxels():
    found = Voxels(ignore_label=3).draw(seen(), LOGITS, torch.full((2, 1, 8, 8), 3))
    assert (len(found.rows), len(found.labels), len(found.cases), len(found.remembered)) == (0, 0, 0, 0)


def test_regions_are_told_apart_by_the_set_a_voxel_lies_in():
    regions = torch.cat([BLOCKS > 0, BLOCKS > 1], 1)
    found = Voxels(kind="regions").draw(seen(), torch.zeros(2, 2, 8, 8), regions)
    assert set(found.labels.tolist()) == {0, 1, 3}


def test_a_voxel_of_a_coarser_map_has_the_feature_of_its_cell():
    cells = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(2, 4, 2, 2)
    quarters = torch.tensor([[0, 1], [2, 3]]).repeat_interleave(4, 0).repeat_interleave(4, 1).expand(2, 1, 8, 8)
    found = Voxels(voxels=64).draw(replace(seen(), decoded=cells), torch.zeros(2, 4, 8, 8), quarters)
    assert torch.equal(found.rows[:, 0], found.labels + 1.0)


def test_ten_voxels_of_each_class_of_each_patch_stand_for_it():
    found = Voxels(voxels=96).draw(seen(), LOGITS, target())
    patches = (torch.arange(len(found.rows)) // 48)[found.remembered]
    groups = Counter(zip(patches.tolist(), found.labels[found.remembered].tolist(), strict=True))
    assert groups == {(patch, label): 10 for patch in range(2) for label in range(3)}


def test_of_fewer_than_ten_all_do():
    assert Voxels(voxels=24).draw(seen(), LOGITS, target()).remembered.all()


def test_cases_are_told_apart_by_their_names_the_same_way_everywhere():
    voxels = Voxels()
    cases = [voxels.draw(seen(cases=names), LOGITS, target()).cases for names in (["a", "b"], ["b", "a"], ["c", "c"])]
    assert cases[0][0] == cases[1][-1] == 38582675093786123
    assert cases[0][-1] == cases[1][0]
    assert len(set(cases[0].tolist())) == 2
    assert len(set(cases[2].tolist())) == 1


def test_without_names_all_are_of_one_case():
    assert len(set(Voxels().draw(seen(), LOGITS, target()).cases.tolist())) == 1


def test_chance_depends_on_the_step_and_on_nothing_else():
    voxels, resumed = Voxels(), Voxels()
    first = voxels.draw(seen(), LOGITS, target())
    torch.manual_seed(1)
    assert torch.equal(voxels.draw(seen(), LOGITS, target()).rows, first.rows)
    voxels.memory.store(first.rows, first.labels)
    second = voxels.draw(seen(), LOGITS, target())
    assert not torch.equal(second.rows, first.rows)
    resumed.load_state_dict(voxels.state_dict())
    assert torch.equal(resumed.draw(seen(), LOGITS, target()).rows, second.rows)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_features_in_half_precision_are_compared_in_float32(dtype):
    found = Voxels().draw(replace(seen(), decoded=seen().decoded.to(dtype)), LOGITS.to(dtype), target())
    assert found.rows.dtype == torch.float32


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "made", [lambda: PixelConFeature(4, 128, 0.1, 60, None), lambda: PrototypesFeature(4, 3, 128, 0.1, 0.5, None)]
)
def test_a_non_finite_voxel_does_not_poison_the_next_step(made, value):
    torch.manual_seed(0)
    feature, bad = made(), seen()  # every voxel is drawn
    bad.decoded[0, 0, :4] = value
    feature(bad, LOGITS, target())
    assert feature.memory.rejected > 0
    assert feature(seen(1), LOGITS, target(1)).isfinite()
