"""The checks that other packages' terms get: what is right passes, what is wrong is found. Our own losses get all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.losses import DiceLoss
from nnunet_fess.plugin import MapTerm, RegionTerm
from nnunet_fess.testing import checks, feature_host, host
from nnunet_fess.trainers.catalogue import FEATURE, REGION


class Careless(nn.Module):
    """Cross entropy as one writes it first: no ignore label, no regions, no check."""

    def forward(self, net_output, target):
        return nn.functional.cross_entropy(net_output, target[:, 0].long())


RIGHT = RegionTerm("Right", "Dice", lambda settings, host: DiceLoss(**host.dice))
WRONG = RegionTerm("Wrong", "careless", lambda settings, host: Careless())
TERMS = (RIGHT, WRONG)


def of(term, name: str, **settings):
    return next(check for check in checks(term, **settings) if check.name == name)


@pytest.mark.parametrize(
    "name",
    [
        "smoke, labels, 3-D",
        "ignore index, labels",
        "deep supervision, regions",
        "two ranks",
        "trains, PlainConvUNet, regions, 2-D",
    ],
)
def test_what_is_right_passes(name):
    of(RIGHT, name)()


@pytest.mark.parametrize("name", ["ignore index, labels", "exception, label 3", "degenerate, ignored, 1", "two ranks"])
def test_what_is_wrong_is_found(name):
    with pytest.raises((Exception, pytest.fail.Exception)):
        of(WRONG, name)()


def test_every_property_is_in_the_list():
    names = {check.name.split(",")[0] for check in checks(RIGHT)}
    assert names >= {
        "smoke", "half precision", "autocast", "target dtype", "memory format", "ignore index", "gradcheck", "dynamo",
        "exception", "degenerate", "convergence", "deep supervision", "two ranks", "trains", "module",
    }  # fmt: skip
    assert [check.name for check in checks(MapTerm("M", "m", RIGHT.build))] == [check.name for check in checks(RIGHT)]


@pytest.mark.parametrize("name", ["trains, ResidualEncoderUNet, ignore, 2-D", "resumed"])
def test_a_feature_term_is_trained_and_resumed(name):
    of(FEATURE["SupCon"], name, queue=6, **{"lambda": 0.9})()


@pytest.mark.parametrize(("kind", "classes", "regions"), [("labels", 3, False), ("regions", 3, True), ("binary", 1, True)])
def test_the_host_is_of_the_targets_kind(kind, classes, regions):
    made = host(kind, 2, ignore_label=9)
    assert (len(made.classes), made.has_regions, len(made.spacing), made.ignore_label) == (classes, regions, 2, 9)
    assert feature_host(kind).stages == [4, 8, 8]


def test_a_term_of_ours_is_built_for_it():
    assert REGION["CWCD"].make(of_defaults("CWCD"), host())(torch.zeros(1, 3, 5, 4, 6), torch.zeros(1, 1, 5, 4, 6)) >= 0


def of_defaults(name: str):
    from nnunet_fess.trainers import parse

    read = parse(f"nnUNetTrainer{name}")
    return read.settings_of(read.loss.region)
