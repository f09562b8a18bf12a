"""The one skeleton, run over every loss that there is."""

from __future__ import annotations

import pytest
import torch
from losses import skeleton
from losses.every_loss import classes, every_loss

from nnunet_fess import losses

LOSSES = every_loss()
PLACES = [
    (name, shape)
    for name in LOSSES
    for shape in skeleton.SHAPES
    if skeleton.spatial_axes_of(LOSSES[name]()) in (None, len(skeleton.SHAPES[shape]))
]


@pytest.fixture(params=LOSSES)
def make(request: pytest.FixtureRequest) -> skeleton.Make:
    return LOSSES[request.param]


class TestLosses:
    @pytest.mark.parametrize(("name", "shape"), PLACES)
    @pytest.mark.parametrize("kind", skeleton.TARGETS)
    def test_smoke(self, name, shape, kind):
        skeleton.check_smoke(LOSSES[name], kind, skeleton.SHAPES[shape])

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    @pytest.mark.parametrize("kind", ["labels", "regions"])
    def test_half_precision(self, make, kind, dtype):
        skeleton.check_half_precision(make, kind, dtype)

    @pytest.mark.parametrize("kind", ["labels", "two labels", "regions"])
    def test_autocast(self, make, kind):
        skeleton.check_autocast(make, kind)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32])
    def test_target_dtype(self, make, dtype):
        skeleton.check_target_dtype(make, dtype)

    def test_one_hot(self, make):
        skeleton.check_one_hot(make)

    @pytest.mark.parametrize("kind", ["labels", "two labels", "regions and ignore mask"])
    def test_memory_format(self, make, kind):
        skeleton.check_memory_format(make, kind)

    @pytest.mark.parametrize(
        ("logits", "target", "found"),
        [
            ((1, 3, 4, 4, 4), (1, 2, 4, 4, 4), r"Got: \(1, 2, 4, 4, 4\)"),
            ((1, 3, 4, 4, 4), (2, 1, 4, 4, 4), r"Got: \(2, 1, 4, 4, 4\)"),
            ((1, 3, 4, 4, 4), (1, 1, 4, 4, 3), r"Got: \(1, 1, 4, 4, 3\)"),
            ((1, 3), (1, 1), r"Got: \(1, 3\)"),
        ],
    )
    def test_exception(self, make, logits, target, found):
        skeleton.check_exception(make, logits, target, found)

    @pytest.mark.parametrize(("label", "found"), [(3, "exceed 2.*Got: 3"), (-1, "negative.*Got: -1"), (0.5, "Got: 0.5")])
    def test_exception_of_labels(self, make, label, found):
        skeleton.check_exception_of_labels(make, label, found)

    @pytest.mark.parametrize("kind", skeleton.TARGETS_THAT_IGNORE)
    def test_ignore_index(self, make, kind):
        skeleton.check_ignore_index(make, kind)

    @pytest.mark.parametrize("kind", skeleton.TARGETS)
    def test_gradcheck(self, make, kind):
        skeleton.check_gradcheck(make, kind)

    @pytest.mark.parametrize("kind", ["labels", "two labels", "regions and ignore mask"])
    def test_dynamo(self, make, kind):
        skeleton.check_dynamo(make, kind)

    def test_module(self, make):
        skeleton.check_module(make)

    @pytest.mark.parametrize("target", skeleton.DEGENERATE.values(), ids=skeleton.DEGENERATE)
    @pytest.mark.parametrize("scale", [0.0, 1.0, 100.0])
    def test_degenerate_patches(self, make, target, scale):
        skeleton.check_degenerate_patches(make, target, scale)

    def test_predicting_an_absent_class_never_pays(self, make):
        skeleton.check_predicting_an_absent_class_never_pays(make)

    @pytest.mark.parametrize("kind", ["labels", "regions", "binary"])
    def test_convergence(self, make, kind):
        skeleton.check_convergence(make, kind)


def test_every_loss_is_found_with_its_variants():
    # The finder itself: by name what must be among them, not what all there is.
    expected = {"CWCDLoss", "CWCDLoss adaptive", "CWCDLoss mm", "CWCDLoss batch_dice", "DiceLoss released", "FESSLoss released"}
    assert expected <= LOSSES.keys()
    assert {losses.CrossEntropyLoss, losses.FESSLoss} <= set(classes())
    assert not {losses.SpatialLoss, losses.SumsLoss, losses.FESSContrastiveLoss} & set(classes())
