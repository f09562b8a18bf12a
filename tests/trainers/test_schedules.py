"""α of region and map by hand, the balance of the epoch before, and the terms that are built from names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.plugin import Host
from nnunet_fess.trainers.blend import Blend
from nnunet_fess.trainers.composed_loss import ComposedLoss
from nnunet_fess.trainers.naming import parse
from nnunet_fess.trainers.terms import spatial_loss

SCHEDULES = {
    "gradual": [1.0, 0.8, 0.6, 0.4, 0.2],
    "linear": [1.0, 0.75, 0.5, 0.25, 0.0],
    "step": [1.0, 0.75, 0.5, 0.25, 0.0],
    "cosine": [1.0, 0.853553, 0.5, 0.146447, 0.0],
}


def blend(suffix: str, epoch: int = 0, epochs: int = 5, base: str = "RRWDice") -> Blend:
    host = Host(spacing=(1.0, 1.0), patch_size=(6, 6), classes=("background", "a"), epochs=epochs, epoch=lambda: epoch)
    made = spatial_loss(parse(f"nnUNetTrainer{base}{suffix}"), host)
    assert isinstance(made, Blend)
    return made


def both(made: Blend) -> tuple[float, float]:
    weights = made.weights()
    return weights["region"], weights["map"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_run_over_the_runs_own_epochs(name):
    for epoch, alpha in enumerate(SCHEDULES[name]):
        assert both(blend(f"_{name}", epoch)) == pytest.approx((alpha, 1 - alpha), abs=1e-6)


def test_gradual_never_leaves_the_region_out():
    assert both(blend("_gradual", 999, 1000)) == pytest.approx((0.01, 0.99))


def test_one_epoch_is_no_division_by_zero():
    assert all(both(blend(f"_{name}", 0, 1)) == (1, 0) for name in SCHEDULES)


def test_fixed_and_equal_weights():
    assert both(blend("")) == (0.5, 0.5)
    assert both(blend("_alpha0p8")) == pytest.approx((0.8, 0.2))
    assert both(blend("_equal")) == (1, 1)


def test_balanced_makes_the_means_of_the_epoch_before_equal():
    made = blend("_balanced", 2)
    assert both(made) == (0.5, 0.5), "nothing is known yet"
    made.weighing.history = lambda: [
        {"epoch": 0},
        {"epoch": 1, "region": 0.6 * 0.8, "map": 0.2 * 0.2, "weight_region": 0.8, "weight_map": 0.2},
    ]
    of_region, of_map = both(made)
    assert of_region * 0.6 == pytest.approx(of_map * 0.2)
    assert of_region + of_map == 1


def test_balanced_knows_that_nnunets_own_loss_ends_at_minus_1():
    host = Host(spacing=(1.0, 1.0), patch_size=(6, 6), classes=("a", "b"), epoch=lambda: 1, own_loss=nn.Identity)
    made = spatial_loss(parse("nnUNetTrainerGSLDiceCE_balanced"), host)
    made.weighing.history = lambda: [{"epoch": 0, "region": -0.2, "map": 0.1, "weight_region": 0.5, "weight_map": 0.5}]
    assert both(made) == pytest.approx((0.25, 0.75))


def test_value_is_the_weighted_sum():
    made = blend("_alpha0p25")
    logits, labels = torch.randn(1, 2, 6, 6), torch.randint(0, 2, (1, 1, 6, 6))
    expected = 0.25 * made.losses["region"](logits, labels) + 0.75 * made.losses["map"](logits, labels)
    assert torch.allclose(made(logits, labels), expected)


@pytest.mark.parametrize("name", ["_alpha0p5_gradual", "_gradual_linear", "_equal_balanced"])
def test_one_schedule_at_a_time(name):
    with pytest.raises(ValueError, match="exclude each other"):
        parse(f"nnUNetTrainerRRWDice{name}")


def test_a_map_alone_is_a_trainer_and_the_unstable_ones_are_told():
    assert parse("nnUNetTrainerRRW").remarks == []
    for name in ("Boundary", "HausdorffDT", "HausdorffER"):
        assert any("not to converge" in text for text in parse(f"nnUNetTrainer{name}").remarks)
    assert parse("nnUNetTrainerBoundaryDiceCE_gradual").remarks == []


def test_a_share_of_nothing_is_told_and_leaves_a_loss_that_is_alone():
    assert [text[:5] for text in parse("nnUNetTrainerRRWDice_alpha0").remarks] == ["α = 0"]
    assert [text[:5] for text in parse("nnUNetTrainerRRWDice_alpha1").remarks] == ["α = 1"]
    assert [text[:14] for text in parse("nnUNetTrainerBoundaryDice_alpha0").remarks] == ["Boundary alone", "α = 0: the reg"]
    assert parse("nnUNetTrainerBoundaryDice_alpha0p1").remarks == []


@pytest.mark.parametrize(
    "name",
    [
        "RRW",
        "Boundary_cap20",
        "ActiveContour",
        "GSL",
        "FuzzyRough",
        "HausdorffDT",
        "HausdorffOS",
        "HausdorffER",
        "HausdorffCV",
        "Focal",
        "WCE",
        "TopK",
        "Tversky",
        "FocalTversky",
        "DiceTopK",
        "DiceFocal",
        "GDLFocal",
        "CCDice",
    ],
)
def test_every_new_term_is_built_and_trains(name):
    host = Host(spacing=(1.0, 2.0), patch_size=(12, 10), classes=("background", "a", "b"))
    loss = spatial_loss(parse(f"nnUNetTrainer{name}"), host)
    logits = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.randint(0, 3, (2, 1, 6, 5), generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad(loss(logits, labels), logits)
    assert gradient.any()


def test_a_composed_loss_balances_by_its_own_history():
    made = blend("_balanced", 1)
    composed = ComposedLoss(made)
    logits, labels = torch.zeros(1, 2, 6, 6), torch.zeros(1, 1, 6, 6)
    labels[..., 3:] = 1
    composed(logits.requires_grad_(), labels)
    composed.components.close_epoch(0, **composed.scheduled())
    of_region, of_map = both(made)
    values = [made.losses[name](logits, labels).item() for name in ("region", "map")]
    assert of_region * values[0] == pytest.approx(of_map * values[1])
    assert of_region != 0.5
