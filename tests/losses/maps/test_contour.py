from __future__ import annotations

import numpy as np
import pytest
import torch
from acvl_utils.morphology.gpu_binary_morphology import gpu_binary_erosion
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from losses.plain_loops import own_contour
from scipy.ndimage import binary_erosion
from torch import Tensor

from nnunet_fess.losses import contour_map
from nnunet_fess.losses.maps.contour import Contour
from nnunet_fess.losses.target import parse_target


def drawing(*rows: str) -> Tensor:
    """A label map (1, 1, H, W) drawn in digits."""
    return torch.tensor([[int(c) for c in row] for row in rows])[None, None]


def drawn(contour: Tensor) -> list[str]:
    """The contour of a 2-D label map, # where it is."""
    return ["".join("#" if voxel else "." for voxel in row) for row in contour[0, 0]]


def ball(radius: int, size: int) -> Tensor:
    axes = [torch.arange(size) - (size - 1) / 2] * 3
    distance = sum(axis**2 for axis in torch.meshgrid(*axes, indexing="ij"))
    return (distance <= radius**2)[None, None].to(torch.uint8)


# --- by hand


def test_both_sides_of_a_border_are_contour_and_the_arrays_border_is_not():
    # A patch that cuts the organ in two: no contour along the cut.
    labels = drawing("000111", "000111", "000111")
    assert drawn(contour_map(labels, 1)) == ["..##..", "..##..", "..##.."]


def test_released_counts_the_arrays_border_as_contour():
    labels = drawing("000000", "000000", "000000", "000000")
    assert drawn(contour_map(labels, 1, "released")) == ["######", "#....#", "#....#", "######"]


def test_boxes_reach_through_corners():
    labels = drawing("0000", "0000", "0010", "0000")
    assert drawn(contour_map(labels, 1)) == ["....", ".###", ".###", ".###"]


def test_labels_that_touch_have_a_contour_between_them():
    labels = drawing("111122223333")
    assert drawn(contour_map(labels, 1)) == ["...##..##..."]


def test_iterations_widen_the_rim():
    labels = drawing("0000011111")
    assert drawn(contour_map(labels, 3)) == ["..######.."]


def test_ignored_voxels_are_no_contour_and_cause_none():
    labels = drawing("0009911100", "0009911100")
    assert drawn(contour_map(labels, 1, ignore_label=9)) == [".......##.", ".......##."]


def test_a_border_is_seen_across_ignored_voxels():
    labels = drawing("00911")
    assert drawn(contour_map(labels, 2, ignore_label=9)) == [".#.#."]


def test_an_ignore_mask_does_what_an_ignore_label_does():
    labels = drawing("0009911100")
    same = contour_map(drawing("0000111100"), 2, ignore_mask=labels == 9)
    assert torch.equal(same, contour_map(labels, 2, ignore_label=9))


def test_all_ignored_has_no_contour():
    assert not contour_map(drawing("999"), 1, ignore_label=9).any()


def test_regions_have_contours_of_their_own():
    whole, core = drawing("00111100"), drawing("00011000")
    contour = contour_map(torch.cat((whole, core), 1).bool(), 1)
    assert drawn(contour[:, :1]) == [".##..##."]
    assert drawn(contour[:, 1:]) == ["..####.."]


def test_ignored_voxels_of_regions_cause_no_contour():
    target = torch.cat((drawing("00001111"), drawing("00011000")), 1)
    parsed = parse_target(torch.zeros(1, 1, 1, 8), target)
    assert drawn(Contour(1).of(parsed)) == ["........"]


def test_depth_1_is_a_slice():
    labels = torch.randint(0, 3, (2, 1, 1, 9, 9))
    assert torch.equal(contour_map(labels, 1)[:, :, 0], contour_map(labels[:, :, 0], 1))


def test_depth_1_is_all_contour_where_the_outside_counts():
    assert contour_map(torch.zeros(1, 1, 1, 9, 9), 1, "released").all()


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.float32])
def test_labels_above_255(dtype):
    labels = torch.tensor([[[[256, 256, 256, 512, 512, 512, 0, 0, 0]]]], dtype=dtype)
    assert drawn(contour_map(labels, 1)) == ["..##.##.."]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.float16, torch.float32])
def test_dtypes_agree(dtype):
    labels = torch.randint(0, 2, (1, 1, 8, 8))
    assert torch.equal(contour_map(labels.to(dtype), 1), contour_map(labels, 1))


def test_an_empty_batch_has_an_empty_contour():
    assert contour_map(torch.zeros(0, 1, 4, 4)).shape == (0, 1, 4, 4)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"iterations": 0}, "iterations must be at least 1. Got: 0"),
        ({"convention": "mine"}, "Got: 'mine'"),
        ({"thickness_mm": 0.0, "spacing": (1, 1)}, "thickness_mm must be positive. Got: 0.0"),
        ({"thickness_mm": 2.0}, "needs the spacing.*Got: spacing=None"),
        ({"thickness_mm": 2.0, "spacing": (1, 1, 1)}, r"each axis of \(1, 3\). Got: \(1, 1, 1\)"),
    ],
)
def test_ill_options_are_refused(options, found):
    with pytest.raises(ValueError, match=found):
        contour_map(drawing("011"), **options)


def test_ill_targets_are_refused():
    with pytest.raises(ValueError, match=r"Got: \(3, 3\)"):
        contour_map(torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"negative.*Got: -1"):
        contour_map(drawing("01") - 1)
    with pytest.raises(ValueError, match=r"whole numbers.*Got: 0.5"):
        contour_map(drawing("01") / 2)


# --- against others


@st.composite
def label_maps(draw: st.DrawFn) -> np.ndarray:
    """Blocks of labels, so that erosion leaves something."""
    coarse = draw(arrays(np.uint8, draw(st.lists(st.integers(1, 4), min_size=2, max_size=3)), elements=st.integers(0, 3)))
    return np.kron(coarse, np.ones([draw(st.integers(1, 5)) for _ in coarse.shape], np.uint8))


@settings(deadline=None, max_examples=40)
@given(label_maps(), st.integers(1, 4), st.booleans())
def test_equals_erosion_of_every_class_by_scipy(labels, iterations, released):
    expected = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        own = labels == label
        box = np.ones([3] * labels.ndim)
        expected |= own & ~binary_erosion(own, box, iterations=iterations, border_value=0 if released else 1)
    found = contour_map(torch.from_numpy(labels)[None, None], iterations, "released" if released else "paper")
    assert np.array_equal(found[0, 0], expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="acvl_utils erodes on a GPU only")
@settings(deadline=None, max_examples=15)
@given(label_maps(), st.integers(1, 3))
def test_equals_erosion_of_every_class_by_acvl_utils(labels, iterations):
    labels = np.pad(labels, iterations, mode="edge")  # its border counts as background; ours does not
    expected = np.zeros(labels.shape, bool)
    for label in np.unique(labels):
        own = labels == label
        expected |= own & ~gpu_binary_erosion(own, np.ones([2 * iterations + 1] * labels.ndim)).astype(bool)
    found = contour_map(torch.from_numpy(labels)[None, None], iterations)[0, 0].numpy()
    inner = tuple(slice(iterations, -iterations) for _ in labels.shape)
    assert np.array_equal(found[inner], expected[inner])


@settings(deadline=None, max_examples=20)
@given(label_maps(), st.lists(st.integers(1, 3), min_size=3, max_size=3))
def test_windows_of_unequal_axes_equal_plain_loops(labels, radii):
    radii = radii[: labels.ndim]
    found = contour_map(torch.from_numpy(labels)[None, None], thickness_mm=1.0, spacing=[1 / r for r in radii])
    assert np.array_equal(found[0, 0], own_contour(labels, radii, False))


@pytest.mark.parametrize("case", ["0n1_", "0n2_", "1n1_", "1n2_", "2n1_", "2n2_", "3n1_", "3n2_"])
def test_released_equals_the_authors_contour_of_every_class(golden, case):
    values = golden("cwcd")
    shape = tuple(values[case + "contour_shape"])
    expected = np.unpackbits(values[case + "contour"])[: np.prod(shape)].reshape(shape).astype(bool)
    labels = torch.from_numpy(values[case + "labels"])[:, None]
    contour = contour_map(labels, int(values[case + "iterations"]), "released")
    own = labels == torch.arange(shape[1]).view(1, -1, *[1] * (len(shape) - 2))
    assert np.array_equal(contour & own, expected)


# --- in millimetres


def test_the_thickness_is_the_same_length_on_every_axis():
    labels = torch.zeros(1, 1, 40, 40, dtype=torch.uint8)
    labels[..., 20:, 20:] = 1
    contour = contour_map(labels, thickness_mm=6.0, spacing=(3.0, 1.0))[0, 0]
    assert contour[:, 30].nonzero().flatten().tolist() == list(range(18, 22)), "2 voxels of 3 mm on either side"
    assert contour[30, :].nonzero().flatten().tolist() == list(range(14, 26)), "6 voxels of 1 mm on either side"


def test_an_axis_coarser_than_the_thickness_has_a_rim_of_one_voxel():
    labels = torch.zeros(1, 1, 6, 12, dtype=torch.uint8)
    labels[..., 3:, :] = 1
    contour = contour_map(labels, thickness_mm=2.0, spacing=(5.0, 1.0))[0, 0]
    assert contour[:, 0].tolist() == [False, False, True, True, False, False]


def test_six_millimetres_at_one_are_six_iterations():
    labels = torch.randint(0, 3, (1, 1, 4, 4, 4)).repeat_interleave(7, 2).repeat_interleave(7, 3)
    assert torch.equal(contour_map(labels, thickness_mm=6.0, spacing=(1, 1, 1)), contour_map(labels, 6))


def test_deep_supervision_halves_the_voxels_and_keeps_the_length():
    rule = Contour(thickness_mm=6.0, spacing=(5.0, 1.0, 1.0), patch_size=(16, 64, 64))
    shapes = [(16, 64, 64), (16, 32, 32), (8, 16, 16), (4, 8, 8)]
    assert [rule.window(shape) for shape in shapes] == [[1, 6, 6], [1, 3, 3], [1, 2, 2], [1, 1, 1]]


# --- adaptive


@pytest.mark.parametrize("radius", [3, 4, 6, 9])
def test_a_ball_that_the_fixed_rim_swallows_keeps_a_core_and_half_its_radius(radius):
    labels = ball(radius, 2 * radius + 21)
    inside = labels.bool()
    assert not (inside & ~contour_map(labels, 6)).any()
    core = inside & ~contour_map(labels, 6, adaptive=True)
    assert core.any()
    middle = core.shape[-1] // 2
    width_of_core = int(core[0, 0, middle, middle].sum())
    assert width_of_core >= radius


@pytest.mark.parametrize("width", [1, 2, 3])
def test_large_balls_have_the_fixed_rim(width):
    labels = ball(4 * width, 8 * width + 9)
    inside = labels.bool()
    assert torch.equal(contour_map(labels, width, adaptive=True) & inside, contour_map(labels, width) & inside)


def test_a_large_box_has_the_fixed_rim_on_both_sides():
    labels = torch.zeros(1, 1, 60, 60, dtype=torch.uint8)
    labels[..., 18:43, 18:43] = 1
    assert torch.equal(contour_map(labels, 6, adaptive=True), contour_map(labels, 6))


def test_a_small_organ_beside_a_large_one_has_a_narrow_rim_of_its_own():
    labels = torch.zeros(1, 1, 32, 60, dtype=torch.uint8)
    labels[..., 2:30, 2:32] = 1
    labels[..., 12:18, 32:38] = 2
    core = ~contour_map(labels, 6, adaptive=True)
    assert (core & (labels == 2)).any()
    assert torch.equal(core & (labels == 1), ~contour_map(labels, 6) & (labels == 1))


def test_components_of_one_class_far_apart_have_rims_of_their_own():
    labels = torch.zeros(1, 1, 40, 120, dtype=torch.uint8)
    labels[..., 6:36, 5:35] = 1
    labels[..., 17:23, 90:96] = 1
    contour = contour_map(labels, 6, adaptive=True)
    core = (labels == 1) & ~contour
    assert core[..., 80:].any()
    assert torch.equal(core[..., :60], ((labels == 1) & ~contour_map(labels, 6))[..., :60])


@settings(deadline=None, max_examples=40)
@given(label_maps(), st.integers(1, 4))
def test_adaptive_is_never_wider_and_leaves_a_core_to_what_survives_one_erosion(labels, width):
    target = torch.from_numpy(labels)[None, None]
    adaptive, fixed, thin = contour_map(target, width, adaptive=True), contour_map(target, width), contour_map(target, 1)
    assert not (adaptive & ~fixed).any()
    assert not (thin & ~adaptive).any()
    for label in np.unique(labels):
        own = target == label
        assert (own & ~adaptive).any() == (own & ~thin).any()


def test_more_labels_than_a_machine_word_has_bits():
    many = torch.arange(130).view(1, 1, 10, 13).repeat_interleave(9, 2).repeat_interleave(9, 3)
    few = (torch.arange(10)[:, None] % 2 + torch.arange(13) % 2 * 2).view(1, 1, 10, 13)
    few = few.repeat_interleave(9, 2).repeat_interleave(9, 3)
    # Blocks of four labels, no two of a kind in reach of one another, have the rims of 130 different ones.
    assert torch.equal(contour_map(many, 2, adaptive=True), contour_map(few, 2, adaptive=True))


def test_adaptive_regions_equal_adaptive_binary_label_maps():
    regions = torch.stack([ball(4, 31)[0, 0], ball(9, 31)[0, 0]])[None].bool()
    expected = [contour_map(region[None], 4, adaptive=True) for region in regions[0][:, None]]
    assert torch.equal(contour_map(regions, 4, adaptive=True), torch.cat(expected, 1))


@pytest.mark.parametrize("channels", [2, 3, 4, 6])
@pytest.mark.parametrize("options", [{}, {"adaptive": True}, {"convention": "released"}], ids=["fixed", "adaptive", "released"])
@pytest.mark.parametrize("ignored", ["nothing", "voxels", "a label"])
def test_each_region_has_the_contour_of_a_label_map(channels, options, ignored):
    # Regions share bytes; a bit that leaked into its neighbour would show.
    generator = torch.Generator().manual_seed(0)
    blocks = torch.randint(0, 2, (2, channels, 3, 3, 4), generator=generator)
    regions = blocks.repeat_interleave(4, 2).repeat_interleave(5, 3).repeat_interleave(3, 4)
    if ignored == "voxels":
        options = options | {"ignore_mask": torch.rand(2, 1, *regions.shape[2:], generator=generator) > 0.9}
    if ignored == "a label":
        regions[torch.rand(regions.shape, generator=generator) > 0.9] = 2
        options = options | {"ignore_label": 2}
    expected = [contour_map(region, 3, **options) for region in regions.split(1, 1)]
    found = contour_map(regions, 3, **options)
    assert found.dtype == torch.bool
    assert torch.equal(found, torch.cat(expected, 1))


def test_ignored_voxels_hold_no_core():
    labels = ball(9, 31)
    ignore = torch.zeros_like(labels, dtype=torch.bool)
    ignore[..., 10:21, 10:21, 10:21] = True
    contour = contour_map(labels, 4, adaptive=True, ignore_mask=ignore)
    assert not (contour & ignore).any()
