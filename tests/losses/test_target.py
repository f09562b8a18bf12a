from __future__ import annotations

import pytest
import torch

from nnunet_fess.losses.target import check_convention, parse_target


def logits(channels: int) -> torch.Tensor:
    return torch.zeros(2, channels, 4, 3)


def labels(*values: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(2, 1, 4, 3) of zeros that begins with the values."""
    result = torch.zeros(24, dtype=dtype)
    result[: len(values)] = torch.tensor(values, dtype=dtype)
    return result.view(2, 1, 4, 3)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float16, torch.float32, torch.float64])
def test_one_channel_is_a_label_map(dtype):
    target = parse_target(logits(3), labels(2, 1, dtype=dtype))
    assert target.is_label_map
    assert target.valid is None
    assert target.classes.flatten()[:3].tolist() == [2, 1, 0]


def test_ignored_voxels_of_a_label_map_hold_0_and_are_not_valid():
    target = parse_target(logits(3), labels(3, 2), ignore_label=3)
    assert target.classes.flatten()[:2].tolist() == [0, 2]
    assert target.valid.flatten()[:2].tolist() == [False, True]


def test_one_channel_of_one_is_a_region():
    target = parse_target(logits(1), labels(1, 0, 2), ignore_label=2)
    assert not target.is_label_map
    assert target.classes.dtype == torch.bool
    assert target.valid.flatten()[:3].tolist() == [True, True, False]


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_last_of_too_many_channels_is_the_ignore_mask(channels, dtype):
    regions = torch.ones(2, channels + 1, 4, 3, dtype=dtype)
    regions[:, -1, 1:] = 0
    target = parse_target(logits(channels), regions)
    assert target.classes.shape == (2, channels, 4, 3)
    assert not target.valid[:, :, 0].any()
    assert target.valid[:, :, 1:].all()
    assert not target.classes[:, :, 0].any(), "ignored voxels belong to no region"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (torch.zeros(2, 5, 4, 3), r"Got: \(2, 5, 4, 3\)"),
        (torch.zeros(2, 4, 3), r"Got: \(2, 4, 3\)"),
        (torch.zeros(1, 1, 4, 3), r"Got: \(1, 1, 4, 3\)"),
        (torch.zeros(2, 1, 4, 2), r"Got: \(2, 1, 4, 2\)"),
        (labels(3), "must not exceed 2.*Got: 3"),
        (labels(-1), "must not be negative.*Got: -1"),
        (labels(1, 0.5), "whole numbers.*Got: 0.5"),
        (labels(float("nan")), "whole numbers.*Got: nan"),
        (torch.full((2, 3, 4, 3), 2), "must not exceed 1.*Got: 2"),
    ],
)
def test_ill_targets_are_refused_with_what_was_found(target, found):
    with pytest.raises(ValueError, match=found):
        parse_target(logits(3), target)


def test_logits_without_spatial_axes_are_refused():
    with pytest.raises(ValueError, match=r"net_output must be .* Got: \(2, 3\)"):
        parse_target(torch.zeros(2, 3), torch.zeros(2, 1))


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match=r"paper, released. Got: 'authors'"):
        check_convention("authors")
