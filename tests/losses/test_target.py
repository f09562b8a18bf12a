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


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_labels_may_be_ignored(dtype):
    target = parse_target(logits(3), labels(3, 2).to(dtype), ignore_label=3)
    assert target.classes.flatten()[:3].tolist() == [0, 2, 0]
    assert target.valid.flatten()[:3].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("net_output", "target", "found"),
    [
        ([torch.zeros(2, 3, 4, 3)], [labels()], "net_output must be one torch.Tensor .deep supervision.*Got: list"),
        (torch.zeros(2, 3, 4, 3), [labels()], "target must be one torch.Tensor .deep supervision.*Got: list"),
        (torch.zeros(2, 3, 4, 3), labels().numpy(), r"torch.from_numpy.*Got: ndarray"),
        (torch.zeros(2, 3, 4, 3), None, "Got: NoneType"),
        (torch.zeros(0, 3, 4, 3), torch.zeros(0, 1, 4, 3), r"samples, channels and voxels. Got: \(0, 3, 4, 3\)"),
        (torch.zeros(2, 3, 4, 0), torch.zeros(2, 1, 4, 0), r"samples, channels and voxels. Got: \(2, 3, 4, 0\)"),
        (torch.zeros(2, 3, 4, 3), torch.zeros(2, 4, 3), r"channel axis, as in target.unsqueeze\(1\).*Got: \(2, 4, 3\)"),
        (torch.zeros(2, 3, 4, 3), labels().to(torch.complex64), "real dtype. Got: torch.complex64"),
        (torch.zeros(2, 3, 4, 3, dtype=torch.long), labels(), "floating dtype. Got: torch.int64"),
    ],
)
def test_what_is_no_pair_of_tensors_is_refused_for_its_reason(net_output, target, found):
    with pytest.raises(ValueError, match=found):
        parse_target(net_output, target)


# --- one-hot


def one_hot(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels (2, 1, 4, 3) and the same one-hot (2, 3, 4, 3)."""
    classes = torch.randint(0, 3, (2, 1, 4, 3), generator=torch.Generator().manual_seed(0))
    return classes, torch.nn.functional.one_hot(classes[:, 0], 3).movedim(-1, 1).to(dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int64, torch.float16, torch.float32])
def test_channels_that_sum_to_1_everywhere_are_one_hot_labels_and_a_warning_says_so(dtype):
    classes, channels = one_hot(dtype)
    with pytest.warns(UserWarning, match='taken for one-hot labels.*target_kind="onehot"'):
        target = parse_target(logits(3), channels)
    assert target.is_label_map
    assert torch.equal(target.classes.long(), classes)


def test_bool_channels_are_regions_whatever_their_sum(recwarn):
    assert not parse_target(logits(3), one_hot(torch.bool)[1]).is_label_map
    assert not recwarn


def test_channels_that_do_not_sum_to_1_are_regions(recwarn):
    channels = one_hot(torch.float32)[1]
    channels[0, :, 0, 0] = 0
    assert not parse_target(logits(3), channels).is_label_map
    assert not recwarn


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
def test_who_says_what_the_target_is_gets_it_without_a_warning(dtype, recwarn):
    classes, channels = one_hot(dtype)
    assert torch.equal(parse_target(logits(3), channels, kind="onehot").classes.long(), classes)
    assert not parse_target(logits(3), channels, kind="regions").is_label_map
    assert parse_target(logits(3), classes, kind="labels").is_label_map
    assert not recwarn


def test_one_hot_labels_may_bring_an_ignore_mask():
    classes, channels = one_hot(torch.float32)
    mask = torch.zeros(2, 1, 4, 3)
    mask[:, :, 0] = 1
    channels[:, :, 0] = 0
    target = parse_target(logits(3), torch.cat((channels, mask), 1), kind="onehot")
    assert torch.equal(target.valid, mask == 0)
    assert torch.equal(target.classes.long(), classes * target.valid)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_one_hot_labels_with_an_ignore_mask_are_told_by_the_voxels_that_count(dtype):
    classes, channels = one_hot(dtype)
    mask = torch.zeros(2, 1, 4, 3, dtype=dtype)
    mask[:, :, 0] = 1
    for under_the_mask in (
        channels,
        channels * (1 - mask),
    ):  # the labels as they were, or all classes of which the last is ignored
        with pytest.warns(UserWarning, match="taken for one-hot labels"):
            target = parse_target(logits(3), torch.cat((under_the_mask, mask), 1))
        assert target.is_label_map
        assert torch.equal(target.classes.long(), classes * target.valid)


def test_regions_that_share_the_voxels_are_regions_where_that_is_said(recwarn):
    channels, mask = one_hot(torch.float32)[1], torch.zeros(2, 1, 4, 3)
    assert not parse_target(logits(3), torch.cat((channels, mask), 1), kind="regions").is_label_map
    assert not parse_target(logits(3), torch.cat((channels, mask), 1).bool()).is_label_map
    assert not recwarn


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (torch.zeros(2, 1, 4, 3, device="meta"), "on the device of net_output, cpu. Got: meta"),
        (torch.zeros(2, 1, 4, 3).to_sparse(), "must be dense.*Got: torch.sparse_coo"),
    ],
)
def test_a_target_that_cannot_be_compared_is_refused(target, found):
    with pytest.raises(ValueError, match=found):
        parse_target(logits(3), target)


@pytest.mark.parametrize(
    ("target", "kind", "found"),
    [
        (one_hot(torch.uint8)[1], "labels", r"channels of target_kind='labels'.*Got: \(2, 3, 4, 3\)"),
        (one_hot(torch.uint8)[0], "onehot", r"channels of target_kind='onehot'.*Got: \(2, 1, 4, 3\)"),
        (one_hot(torch.uint8)[0], "regions", r"channels of target_kind='regions'.*Got: \(2, 1, 4, 3\)"),
        (torch.zeros(2, 3, 4, 3), "onehot", "one channel. Got: none"),
        (torch.full((2, 3, 4, 3), 1 / 3), "onehot", "whole numbers.* Got: 0.33"),
        (one_hot(torch.uint8)[1], "hot", "target_kind must be one of auto, labels, regions, onehot. Got: 'hot'"),
    ],
)
def test_a_target_that_is_not_what_was_said_is_refused(target, kind, found):
    with pytest.raises(ValueError, match=found):
        parse_target(logits(3), target, kind=kind)


def test_logits_without_spatial_axes_are_refused():
    with pytest.raises(ValueError, match=r"net_output must be .* Got: \(2, 3\)"):
        parse_target(torch.zeros(2, 3), torch.zeros(2, 1))


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match=r"paper, released. Got: 'authors'"):
        check_convention("authors")
