from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from nnunet_fess.losses import CWCDLoss, SeparableDiceLoss
from nnunet_fess.plugin import Host
from nnunet_fess.trainers.catalogue import BUILT_IN, REGION
from nnunet_fess.trainers.naming import parse
from nnunet_fess.trainers.terms import spatial_loss

HOST = Host(
    batch_dice=True, ignore_label=3, spacing=(3.0, 1.0, 1.0), patch_size=(8, 32, 32), classes=["background", "one", "two"]
)


def build(name: str):
    return spatial_loss(parse(name), HOST)


@pytest.mark.parametrize("term", BUILT_IN.terms, ids=lambda term: term.name)
def test_the_builder_of_every_term_of_the_catalogue_is_found(term):
    assert callable(term._builder())


@pytest.mark.parametrize("term", [*BUILT_IN.regions, *BUILT_IN.maps])
def test_regions_that_share_all_voxels_of_a_patch_are_not_taken_for_one_hot_labels(term, recwarn):
    made = spatial_loss(parse(f"nnUNetTrainer{term}"), replace(HOST, has_regions=True, ignore_label=None, patch_size=(4, 8, 8)))
    logits = torch.randn(1, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, 4, 8, 8, dtype=torch.long)
    labels[:, 1:3, 2:6, 3:7] = 2
    regions = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1)
    assert made(logits, regions.float()) == made(logits, regions.bool())
    assert not recwarn


def test_dice_ce_is_the_hosts_own_loss():
    own = torch.nn.Identity()
    assert spatial_loss(parse("nnUNetTrainerDiceCE"), replace(HOST, own_loss=lambda: own)) is own


@pytest.mark.parametrize("term", sorted(REGION))
def test_the_ignore_label_reaches_every_loss(term):
    assert build(f"nnUNetTrainer{term}").ignore_label == 3


@pytest.mark.parametrize("term", ["Dice", "SDL", "CWCD", "GDL"])
def test_batch_dice_reaches_every_loss_with_dice(term):
    assert build(f"nnUNetTrainer{term}").batch_dice is True


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("nnUNetTrainerCWCD", [2, 6, 6]),
        ("nnUNetTrainerCWCD_3mm", [1, 3, 3]),
        ("nnUNetTrainerCWCD_2erosions", [2, 2, 2]),
    ],
)
def test_the_width_is_a_length_unless_the_name_says_voxels(name, window):
    assert build(name).contour.window((8, 32, 32)) == window


def test_the_width_stays_the_same_length_at_a_coarser_scale_of_deep_supervision():
    assert build("nnUNetTrainerCWCD").contour.window((8, 16, 16)) == [2, 3, 3]


def test_contour_weight_and_adaptive_reach_the_loss():
    loss = build("nnUNetTrainerCWCD_contour5_adaptive")
    assert (loss.contour_weight, loss.contour.adaptive) == (5.0, True)


@pytest.mark.parametrize(
    ("name", "fraction"),
    [
        ("nnUNetTrainerSDL_lambda0p8", 0.8),
        ("nnUNetTrainerCWCD_lambda0p8", 0.8),
        ("nnUNetTrainerFESSCWCD_lambda0p8", 0.5),
    ],
)
def test_lambda_is_the_contours_share_only_without_feature_term(name, fraction):
    loss = build(name)
    assert isinstance(loss, (CWCDLoss, SeparableDiceLoss))
    assert loss.contour_fraction == fraction


@pytest.mark.parametrize("term", sorted(REGION))
def test_every_loss_takes_its_grid(term):
    logits = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(build(f"nnUNetTrainer{term}")(logits, torch.ones(2, 1, 8, 32, 32, dtype=torch.int16)))
