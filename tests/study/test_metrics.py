"""Metrics against closed forms, plain loops, MONAI and nnU-Net."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from nnunetv2.evaluation.evaluate_predictions import compute_tp_fp_fn_tn, region_or_label_to_mask

from nnunet_fess.study.metrics import LESION, METRICS, OVERLAP, SURFACE, case_metrics

ONE = {"one": (1,)}


def measure(prediction, truth, metrics=METRICS, spacing=None, **options):
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    return case_metrics(prediction, truth, ONE, spacing or (1.0,) * truth.ndim, metrics, **options)["one"]


@pytest.fixture
def blobs():
    """Two label maps that overlap for the most part; three classes."""
    rng = np.random.default_rng(1)
    axes = np.stack(np.meshgrid(*(np.arange(size) for size in (17, 24, 19)), indexing="ij"), -1)

    def draw(jitter):
        labels = np.zeros(axes.shape[:-1], np.uint8)
        for label, (centre, radius) in enumerate([((8, 8, 8), 6), ((9, 12, 9), 4), ((8, 18, 12), 4)], 1):
            shift = rng.normal(0, jitter, 3)
            labels[np.linalg.norm(axes - centre - shift, axis=-1) < radius + rng.normal(0, jitter)] = label
        return labels

    return draw(1.0), draw(1.0)


def test_one_row_by_hand():
    found = measure([[0, 1, 1, 1, 0, 0, 0]], [[0, 0, 1, 1, 1, 1, 0]], spacing=(1.0, 2.0))
    assert found["dice"] == pytest.approx(4 / 7)
    assert found["iou"] == pytest.approx(2 / 5)
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["sensitivity"] == pytest.approx(2 / 4)
    assert found["specificity"] == pytest.approx(2 / 3)
    # surfaces are the ends, at 2 and 6 mm, and at 4 and 10 mm
    assert found["assd"] == pytest.approx((2 + 2 + 2 + 4) / 4)
    assert found["hd95"] == pytest.approx(2 + 0.95 * 2)
    assert found["nsd"] == 0
    assert measure([[0, 1, 1, 1, 0, 0, 0]], [[0, 0, 1, 1, 1, 1, 0]], ("nsd",), nsd_tolerance_mm=1)["nsd"] == 0.75


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        ((0, 0), (0, 0), "dice nan iou nan precision nan sensitivity nan specificity 1 hd95 nan assd nan nsd nan"),
        ((0, 1), (0, 0), "dice 0 iou 0 precision 0 sensitivity nan specificity 0.5 hd95 nan assd nan nsd 0"),
        ((0, 0), (0, 1), "dice 0 iou 0 precision nan sensitivity 0 specificity 1 hd95 nan assd nan nsd 0"),
        ((1, 1), (1, 1), "dice 1 iou 1 precision 1 sensitivity 1 specificity nan hd95 0 assd 0 nsd 1"),
    ],
)
def test_empty_and_full(prediction, truth, expected):
    words = expected.split()
    found = measure([prediction], [truth], (*OVERLAP, *SURFACE))
    assert found == pytest.approx(dict(zip(words[::2], map(float, words[1::2]), strict=True)), nan_ok=True)


def test_lesions_by_hand():
    truth = np.zeros((9, 9), int)
    truth[0, 0] = truth[1, 1] = 1  # one lesion: corners touch
    truth[4:6, 4:6] = 1
    truth[8, 0] = 1
    prediction = np.zeros_like(truth)
    prediction[1, 1] = prediction[5, 5] = prediction[0, 8] = 1
    assert measure(prediction, truth, LESION) == pytest.approx({"lesion_recall": 2 / 3, "lesion_fp": 1})
    assert measure(0 * truth, truth, LESION) == {"lesion_recall": 0, "lesion_fp": 0}
    found = measure(truth, 0 * truth, LESION)
    assert math.isnan(found["lesion_recall"]) and found["lesion_fp"] == 3


@pytest.mark.parametrize("structure", [(1,), (2, 3)])
def test_dice_and_iou_are_nnunets(blobs, structure):
    prediction, truth = blobs
    masks = [region_or_label_to_mask(labels, structure) for labels in (truth, prediction)]
    tp, fp, fn, _ = compute_tp_fp_fn_tn(*masks)
    found = case_metrics(prediction, truth, {"it": structure}, (1, 1, 1), ("dice", "iou"))["it"]
    assert found["dice"] == pytest.approx(2 * tp / (2 * tp + fp + fn), abs=1e-12)
    assert found["iou"] == pytest.approx(tp / (tp + fp + fn), abs=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 1.3)])
@pytest.mark.parametrize("structure", [(1,), (2,), (1, 2, 3)])
def test_surfaces_are_monais(blobs, structure, spacing):
    masks = [torch.as_tensor(np.isin(labels, structure))[None, None] for labels in blobs]
    arguments = {"include_background": True, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {
            "hd95": compute_hausdorff_distance(*masks, percentile=95, **arguments),
            "assd": compute_average_surface_distance(*masks, symmetric=True, **arguments),
            "nsd": compute_surface_dice(*masks, class_thresholds=[1.5], **arguments),
        }
    found = case_metrics(*blobs, {"it": structure}, spacing, SURFACE, nsd_tolerance_mm=1.5)["it"]
    assert found == pytest.approx({name: value.item() for name, value in theirs.items()}, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 6), (1, 7), (3, 4, 5), (4, 1, 6), (2, 2, 2)]))
def test_plain_loops(seed, shape):
    rng = np.random.default_rng(seed)
    prediction, truth = rng.integers(0, 2, shape), rng.integers(0, 2, shape)
    spacing = rng.uniform(0.5, 3, len(shape))
    # An axis of one voxel is none.
    flat = [tuple(index) for index in np.ndindex(shape)]
    axes = [axis for axis, size in enumerate(shape) if size > 1]

    def surface(labels):
        found = []
        for index in flat:
            neighbours = [(*index[:a], index[a] + step, *index[a + 1 :]) for a in axes for step in (-1, 1)]
            outside = [
                not all(0 <= i < n for i, n in zip(other, shape, strict=True)) or not labels[other] for other in neighbours
            ]
            if labels[index] and any(outside):
                found.append(np.array(index) * spacing)
        return found

    surfaces = surface(prediction), surface(truth)
    found = case_metrics(prediction, truth, ONE, spacing, SURFACE)["one"]
    if not all(surfaces):
        assert math.isnan(found["hd95"])
        return
    apart = [[min(np.linalg.norm(a - b) for b in there) for a in here] for here, there in (surfaces, surfaces[::-1])]
    together = np.concatenate(apart)
    assert found["hd95"] == pytest.approx(max(np.percentile(each, 95) for each in apart))
    assert found["assd"] == pytest.approx(together.mean())
    assert found["nsd"] == pytest.approx((together <= 1).mean())


def test_an_empty_margin_changes_nothing_but_specificity(blobs):
    padded = [np.pad(labels, 7) for labels in blobs]
    metrics = [metric for metric in METRICS if metric != "specificity"]
    structures = {"all": (1, 2, 3)}
    assert case_metrics(*padded, structures, (1, 2, 3), metrics) == case_metrics(*blobs, structures, (1, 2, 3), metrics)


def test_a_slice_is_a_plane():
    labels = np.zeros((1, 8, 8), int)
    labels[0, 1:7, 1:7] = 1
    moved = np.roll(labels, 1, 2)
    flat = case_metrics(moved[0], labels[0], ONE, (1, 1), SURFACE)
    assert case_metrics(moved, labels, ONE, (5, 1, 1), SURFACE) == flat


def test_ignored_voxels_do_not_count_and_have_no_border():
    truth = np.ones((4, 12), int)
    truth[:, 8:] = 0
    ignored = truth.copy()
    ignored[:, 4:8] = 9
    prediction = np.ones((4, 12), int)
    prediction[:, 4:] = 0
    found = measure(prediction, ignored, ignore_label=9)
    assert found["dice"] == 1 and found["hd95"] == 0
    assert measure(np.where(ignored == 9, 1, prediction), ignored, ignore_label=9) == found


def test_order_of_metrics_and_structures_is_the_callers(blobs):
    found = case_metrics(*blobs, {"b": (2,), "a": (1,)}, (1, 1, 1), ("nsd", "dice"))
    assert list(found) == ["b", "a"] and list(found["a"]) == ["nsd", "dice"]


def test_a_label_that_is_nowhere_is_an_empty_structure(blobs):
    assert math.isnan(case_metrics(*blobs, {"far": (77,)}, (1, 1, 1), ("dice",))["far"]["dice"])


def test_numbers_of_labels_do_not_matter(blobs):
    """Labels of FreeSurfer's size, whose table by themselves would take gigabytes, and one that is asked of nobody."""
    prediction, truth = blobs
    structures = {"a": (1,), "b": (2, 3)}
    few = case_metrics(prediction, truth, structures, (1, 1, 1), METRICS)
    names = np.array([0, 14175, 10**9, 300, 5, 77, 78, 79])
    many = case_metrics(names[prediction], names[truth], {"a": (14175,), "b": (10**9, 300)}, (1, 1, 1), METRICS)
    assert many == few
    ignored = case_metrics(prediction, truth, {"a": (1,)}, (1, 1, 1), METRICS, ignore_label=2)
    assert case_metrics(names[prediction], names[truth], {"a": (14175,)}, (1, 1, 1), METRICS, ignore_label=10**9) == ignored


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 1]], [[0, 1, 1]]), "one shape"),
        (([[0.5, 1]], [[0, 1]]), "integers"),
        (([[0, -1]], [[0, 1]]), "below 0"),
        (([[0, 1]], [[0, 1]], ("dise",)), "Got: dise"),
        (([[0, 1]], [[0, 1]], ("dice",), (1.0,)), "2 positive lengths"),
        (([[0, 1]], [[0, 1]], ("dice",), (1.0, 0.0)), "2 positive lengths"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        measure(*arguments)


def test_a_voxel_is_within_a_tolerance_of_one_voxel():
    """NIfTI stores 4.4 mm as float32, 4.400000095."""
    spacing = (float(np.float32(4.4)),)
    found = case_metrics(np.array([0, 1, 1, 0]), np.array([0, 1, 1, 1]), {"it": (1,)}, spacing, ("nsd",), nsd_tolerance_mm=4.4)
    assert found["it"]["nsd"] == 1
