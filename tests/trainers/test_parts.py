from __future__ import annotations

import pytest
import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import nn

from nnunet_fess.trainers.parts import Parts


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value)


class Two(nn.Module):
    """Like nnU-Net's compound losses: two parts, of which one may be left out."""

    def __init__(self):
        super().__init__()
        self.dc, self.ce = nn.Identity(), nn.Identity()

    def forward(self, value, target=True):
        return self.dc(value) + (self.ce(2 * value) if target else 0)


class Telling(nn.Module):
    """A loss that tells its parts, and has a child that is none."""

    def __init__(self):
        super().__init__()
        self.child = nn.Identity()
        self.latest = {}

    def forward(self, value, target=None):
        self.latest = {"one": self.child(value), "two": 2 * value}
        return 3 * value


def recorded(loss: nn.Module, *args: object) -> dict[str, float]:
    parts = Parts(loss)
    with parts.record() as found:
        loss(*args)
    return {name: float(value) for name, value in found.items()}


def deep(loss: nn.Module, *weights: float) -> nn.Module:
    return DeepSupervisionWrapper(loss, weights)


def test_parts_are_summed_over_the_scales_with_their_weights():
    found = recorded(deep(Two(), 0.75, 0.25, 0.0), [scalar(1.0), scalar(2.0), scalar(9.0)], [True] * 3)
    assert found == {"dc": 0.75 * 1 + 0.25 * 2, "ce": 2 * (0.75 * 1 + 0.25 * 2)}


def test_a_part_that_is_left_out_at_one_scale_does_not_shift_the_others():
    assert recorded(deep(Two(), 0.75, 0.25), [scalar(1.0)] * 2, [False, True])["ce"] == 0.25 * 2


def test_a_loss_that_tells_its_parts_is_believed():
    assert recorded(deep(Telling(), 0.75, 0.25), [scalar(1.0)] * 2, [None] * 2) == {"one": 1, "two": 2}


def test_a_loss_of_one_scale_needs_no_wrapper():
    assert recorded(Two(), scalar(1.0)) == {"dc": 1, "ce": 2}


def test_a_step_that_was_cut_off_between_two_scales_does_not_shift_the_next():
    loss = deep(Two(), 0.75, 0.25)
    parts = Parts(loss)
    with pytest.raises(TypeError), parts.record():
        loss([scalar(1.0), "no tensor"], [True, True])
    with parts.record() as found:
        loss([scalar(1.0)] * 2, [True, True])
    assert found["dc"] == 1


def test_a_call_outside_of_a_record_is_not_counted():
    loss = Two()
    parts = Parts(loss)
    with parts.record() as found:
        pass
    loss(scalar(1.0))
    with parts.record(enabled=False) as nothing:
        loss(scalar(1.0))
    assert found == nothing == {}


def test_any_callable_is_a_loss():
    assert recorded(deep(lambda value, target: value, 1.0), [scalar(1.0)], [None]) == {}


def test_nnunets_weights_of_dice_and_cross_entropy_count():
    loss = DC_and_CE_loss({"batch_dice": False, "do_bg": False, "smooth": 1e-5}, {}, weight_ce=0.3, weight_dice=2)
    logits = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.ones(2, 1, 8, 8)
    found = recorded(loss, logits, target)
    assert found.keys() == {"dc", "ce"}
    assert sum(found.values()) == pytest.approx(float(loss(logits, target)), rel=1e-6, abs=1e-6)
