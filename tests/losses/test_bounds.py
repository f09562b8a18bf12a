import math

import numpy as np
import pytest
import torch

from nnunet_fess.losses import (
    FocalLoss,
    FuzzyRoughLoss,
    HausdorffCVLoss,
    HausdorffDTLoss,
    HausdorffERLoss,
    RegionWiseLoss,
    TopKLoss,
    TverskyLoss,
    WeightedCrossEntropyLoss,
)
from nnunet_fess.losses.bounds import check_number, check_numbers


@pytest.mark.parametrize(
    ("value", "bounds", "found"),
    [
        (0, {"above": 0}, r"x must be positive\. Got: 0"),
        (-1, {"least": 0}, r"x must not be negative\. Got: -1"),
        (0, {"least": 1}, r"x must be at least 1\. Got: 0"),
        (0.0, {"least": 1e-6}, r"x must be at least 1e-6\. Got: 0\.0"),
        (2, {"least": 0, "most": 1}, r"x must be between 0 and 1\. Got: 2"),
        (101, {"above": 0, "most": 100}, r"x must be more than 0 and at most 100\. Got: 101"),
        (math.nan, {}, r"x must be finite\. Got: nan"),
        (math.inf, {"above": 0}, r"x must be positive and finite\. Got: inf"),
        (math.nan, {"least": 0}, r"x must not be negative or infinite\. Got: nan"),
        ("2", {"above": 0}, r"x must be a number\. Got: '2'"),
        (None, {}, r"x must be a number\. Got: None"),
        ((1, 2), {}, r"x must be a number\. Got: \(1, 2\)"),
        (2.5, {"whole": True}, r"x must be a whole number\. Got: 2\.5"),
        (0, {"whole": True, "least": 1}, r"x must be at least 1\. Got: 0"),
    ],
)
def test_a_number_out_of_bounds_is_named_with_what_was_expected(value, bounds, found):
    with pytest.raises(ValueError, match=found):
        check_number("x", value, **bounds)


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.int64(1), torch.tensor(1.0)])
def test_a_number_is_one_whoever_holds_it(value):
    check_number("x", value, above=0, most=1)


@pytest.mark.parametrize("values", [[1, 2], (1.0, 2.0), np.array([1.0, 2.0]), torch.tensor([1.0, 2.0])])
def test_several_numbers_may_lie_in_a_list_an_array_or_a_tensor(values):
    assert check_numbers("x", values, above=0) == (1.0, 2.0)


@pytest.mark.parametrize("values", [(), 1.0, None, "12", (1, None), (1, math.nan), (1, 0), torch.tensor(1.0)])
def test_what_is_not_several_numbers_within_bounds_is_refused(values):
    with pytest.raises(ValueError, match=r"x must .* each\. Got: "):
        check_numbers("x", values, " each", above=0)


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (FocalLoss, {"gamma": math.inf}),
        (FocalLoss, {"gamma": "2"}),
        (TopKLoss, {"k": "10"}),
        (TverskyLoss, {"beta": math.inf}),
        (FuzzyRoughLoss, {"alpha": math.inf}),
        (HausdorffDTLoss, {"power": math.inf}),
        (HausdorffERLoss, {"erosions": 2.5}),
        (HausdorffERLoss, {"base": math.nan}),
        (HausdorffCVLoss, {"radii": (3, math.inf)}),
        (HausdorffCVLoss, {"radii": 3}),
        (WeightedCrossEntropyLoss, {"class_weights": [1, math.inf]}),
        (WeightedCrossEntropyLoss, {"class_weights": 2}),
        (RegionWiseLoss, {"spacing": ()}),
        (RegionWiseLoss, {"spacing": 1.0}),
        (RegionWiseLoss, {"spacing": (1, None, 1)}),
        (RegionWiseLoss, {"spacing": (1, 1), "patch_size": (0, 4)}),
        (RegionWiseLoss, {"cap": math.nan}),
        (RegionWiseLoss, {"cap": "5"}),
    ],
)
def test_a_loss_refuses_what_would_fail_or_give_nan_later(make, options):
    (name,) = {*options} - {"spacing"} or {"spacing"}
    with pytest.raises(ValueError, match=f"{name}.* must .*Got: "):
        make(**options)


def test_class_weights_may_be_a_tensor_as_torch_takes_them():
    logits, labels = torch.randn(1, 2, 4, 4), torch.randint(0, 2, (1, 1, 4, 4))
    loss = WeightedCrossEntropyLoss(torch.tensor([1.0, 3.0]))(logits, labels)
    assert torch.allclose(loss, torch.nn.functional.cross_entropy(logits, labels[:, 0], torch.tensor([1.0, 3.0])))
