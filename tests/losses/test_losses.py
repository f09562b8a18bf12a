"""The one list of checks, run over every loss that there is."""

from __future__ import annotations

import pytest
from losses.every_loss import classes, every_loss

from nnunet_fess import losses
from nnunet_fess.testing.checks import Check, spatial_checks

LOSSES = every_loss()
# A variant shares its class's code for types, shapes and settings: fast tests look at what its own arithmetic can break.
OF_VARIANTS = ("smoke", "gradcheck", "ignore index", "degenerate", "autocast, labels")


def is_slow(name: str, check: Check) -> bool:
    """Every loss is compiled once in the fast tests, everything else is checked of it, and the rest is for `-m slow`."""
    if str(check).startswith("dynamo"):
        return " " in name or str(check) != "dynamo, labels"
    return " " in name and not str(check).startswith(OF_VARIANTS)


CHECKS = [
    pytest.param(name, check, id=f"{name}, {check}", marks=[pytest.mark.slow] * is_slow(name, check))
    for name, make in LOSSES.items()
    for check in spatial_checks(lambda kind, axes, make=make: make)
]


@pytest.mark.parametrize(("name", "check"), CHECKS)
def test_losses(name: str, check: Check):
    check()


def test_every_loss_is_found_with_its_variants():
    # The finder itself: by name what must be among them, not what all there is.
    expected = {"CWCDLoss", "CWCDLoss adaptive", "CWCDLoss mm", "CWCDLoss batch_dice", "DiceLoss released", "FESSLoss released"}
    assert expected <= LOSSES.keys()
    assert {losses.CrossEntropyLoss, losses.FESSLoss} <= set(classes())
    assert not {losses.SpatialLoss, losses.SumsLoss, losses.FESSContrastiveLoss} & set(classes())


def test_a_loss_is_found_in_its_file_before_anybody_exports_it(monkeypatch):
    exported = classes()
    monkeypatch.delattr(losses, "DiceLoss")
    assert losses.dice.DiceLoss in classes()
    assert classes() == exported
