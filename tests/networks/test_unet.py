from __future__ import annotations

import re

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.networks.unet import resized
from nnunet_fess.testing.tiny_trainer import network_plans


def test_keeps_what_it_is_not_asked_to_change():
    assert resized(network_plans(3), [16, 16, 16]) == network_plans(3)


def test_residual_encoders_are_cut_by_their_blocks():
    found = resized(network_plans(2, "ResidualEncoderUNet"), [16, 16], features=[6], few_convolutions=True)["arch_kwargs"]
    assert (found["n_blocks_per_stage"], found["features_per_stage"]) == ([1, 2, 2], [6, 6, 6])


def test_a_size_that_works_is_named():
    with pytest.raises(UserError, match=r"17,30 must be divisible by the network's strides 4,4, axis by axis\. 20,32 works\."):
        resized(network_plans(2), [17, 30])


def strides_of(*factors: int, dim: int = 3) -> dict:
    plans = network_plans(dim)
    stages = len(factors)
    plans["arch_kwargs"].update(
        strides=[[factor] * dim for factor in factors],
        kernel_sizes=[[3] * dim] * stages,
        features_per_stage=[8] * stages,
        n_conv_per_stage=[2] * stages,
        n_conv_per_stage_decoder=[2] * (stages - 1),
        n_stages=stages,
    )
    return plans


@pytest.mark.parametrize(
    "patch", [[31, 47, 65], [1, 1, 1], [101, 30, 100], [17, 17, 17], [2, 2, 2], [63, 63, 63], [1, 500, 5], [5, 7, 13]]
)
@pytest.mark.parametrize("factors", [(1, 2, 2, 2, 2, 2), (1, 2), (1, 3, 2, 2), (2, 2, 2, 2, 2, 2, 2)])
def test_the_size_that_is_named_is_taken(factors, patch):
    """Rounded up, a patch may have room for a further stage, whose stride it need not be divisible by."""
    with pytest.raises(UserError) as refused:
        resized(strides_of(*factors), patch)
    named = re.search(r"([\d,]+) works", str(refused.value))
    resized(strides_of(*factors), [int(size) for size in named[1].split(",")])


def test_one_voxel_is_no_bottleneck():
    plans = network_plans(3)
    plans["arch_kwargs"].update(strides=[[1, 1, 1], [2, 2, 2]], kernel_sizes=[[3, 3, 3]] * 2)
    with pytest.raises(UserError, match=r"leaves one voxel of the deepest stage\. 4,4,4 works"):
        resized(plans, [2, 2, 2])


def test_a_transformer_has_no_stages():
    with pytest.raises(UserError, match="has no convolutional stages"):
        resized({"network_class_name": "a.Primus", "arch_kwargs": {"patch_size": 8}}, [16, 16, 16])
