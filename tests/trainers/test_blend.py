from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.trainers.blend import Blend
from nnunet_fess.trainers.composed_loss import ComposedLoss

LOGITS, TARGET = torch.tensor([1.0, 4.0], requires_grad=True), torch.zeros(2)


class Plain(nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, output, target):
        assert self.factor < 100, "this one has no weight"
        return self.factor * (output - target).sum()


def test_is_the_weighted_sum_and_tells_its_parts():
    blend = Blend({"Dice": Plain(1), "RW": Plain(2)}, {"Dice": 0.25, "RW": 0.75})
    assert blend(LOGITS, TARGET).item() == pytest.approx(0.25 * 5 + 0.75 * 10)
    assert {name: value.item() for name, value in blend.latest.items()} == {"Dice": 1.25, "RW": 7.5}


def test_the_weights_are_asked_at_every_call():
    weights = {"Dice": 1.0, "RW": 0.0}
    blend = Blend({"Dice": Plain(1), "RW": Plain(2)}, lambda: weights)
    before = blend(LOGITS, TARGET).item()
    weights |= {"Dice": 0.0, "RW": 1.0}
    assert (before, blend(LOGITS, TARGET).item()) == (5, 10)


def test_what_has_no_weight_is_not_computed():
    assert Blend({"Dice": Plain(1), "RW": Plain(100)}, {"Dice": 1, "RW": 0})(LOGITS, TARGET).item() == 5


@pytest.mark.parametrize("weights", [{"Dice": 1}, {"Dice": 0, "RW": 0}, {"Dice": 1, "rw": 1}])
def test_weights_of_other_losses_are_refused(weights):
    with pytest.raises(ValueError, match=r"weights of \['Dice', 'RW'\] expected"):
        Blend({"Dice": Plain(1), "RW": Plain(2)}, weights)


def test_weights_that_change_from_epoch_to_epoch_are_columns():
    share = [0.0]
    loss = ComposedLoss(Blend({"Dice": Plain(1), "RW": Plain(2)}, lambda: {"Dice": 1 - share[0], "RW": share[0]}))
    for epoch, share[0] in enumerate((0.0, 0.5)):
        loss(LOGITS, TARGET)
        loss.components.close_epoch(epoch, **loss.scheduled())
    first, second = loss.components.history
    assert first == {"epoch": 0, "spatial": 5, "weight_Dice": 1, "weight_RW": 0}
    assert second == {"epoch": 1, "spatial": 7.5, "Dice": 2.5, "RW": 5, "weight_Dice": 0.5, "weight_RW": 0.5}


def test_weights_that_stay_are_no_columns():
    assert ComposedLoss(Blend({"Dice": Plain(1), "RW": Plain(2)}, {"Dice": 1, "RW": 1})).scheduled() == {}
