"""The one list of checks, run over every loss that there is."""

from __future__ import annotations

import pytest
from losses.every_loss import classes, every_loss

from nnunet_fess import losses
from nnunet_fess.testing.checks import Check, spatial_checks

LOSSES = every_loss()
CHECKS = [(name, check) for name, make in LOSSES.items() for check in spatial_checks(lambda kind, axes, make=make: make)]


@pytest.mark.parametrize(("name", "check"), CHECKS, ids=[f"{name}, {check}" for name, check in CHECKS])
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
