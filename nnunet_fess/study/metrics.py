r"""How well a segmentation agrees with the truth, structure by structure, lengths in mm.

With TP, FP, FN and TN the numbers of voxels, S_P and S_T the surface voxels of prediction and truth (those with a face to
the outside; the end of the image is outside, an ignored voxel is not), and D the distances in mm from each voxel of either
surface to the nearest of the other:

==================  =========================================  ==========================  =========================
metric              definition                                 truth and prediction empty  one of them empty
==================  =========================================  ==========================  =========================
dice                2 TP / (2 TP + FP + FN)                    undefined (nnU-Net's rule)  0
iou                 TP / (TP + FP + FN)                        undefined                   0
precision           TP / (TP + FP)                             undefined                   undefined, or 0 (no truth)
sensitivity         TP / (TP + FN)                             undefined                   undefined, or 0 (no prediction)
specificity         TN / (TN + FP)                             1                           as defined
hd95                the larger of the two 95th percentiles     undefined                   undefined
assd                mean of D over both surfaces               undefined                   undefined
nsd                 share of D that is at most the tolerance*  undefined                   0
lesion_recall       share of the truth's lesions that a        undefined (no lesion)       0, or undefined
                    predicted voxel touches
lesion_fp           predicted lesions that touch no truth      0                           their number
==================  =========================================  ==========================  =========================

* To a millionth of it.

A lesion is a connected component, through faces, edges and corners. What is undefined is NaN here, and counted, never averaged
away, by whoever sums up. An axis of one voxel is no axis: a slice has a contour, not two faces.

Sources: Maier-Hein et al., Metrics reloaded (2024); for the surfaces, MONAI's definitions, of which ours are a fast form.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

OVERLAP = ("dice", "iou", "precision", "sensitivity", "specificity")
SURFACE = ("hd95", "assd", "nsd")
LESION = ("lesion_recall", "lesion_fp")
METRICS = (*OVERLAP, *SURFACE, *LESION)
# Where less is better; elsewhere more is.
LOWER_IS_BETTER = frozenset({"hd95", "assd", "lesion_fp"})
_ROUNDING = 1e-6  # relative; of spacings
_FEW = 255  # labels
# In mm.
LENGTHS = frozenset({"hd95", "assd"})

Labels = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]


def case_metrics(
    prediction: Labels,
    truth: Labels,
    structures: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    metrics: Sequence[str] = (*OVERLAP, *SURFACE),
    nsd_tolerance_mm: float = 1.0,
    ignore_label: int | None = None,
) -> dict[str, dict[str, float]]:
    """The metrics of one case, by structure.

    Args:
        prediction: label map, integers >= 0, any number of axes.
        truth: the same for the truth; same shape.
        structures: name → the labels that make it up: one, or those of a region.
        spacing: mm per axis.
        metrics: of `METRICS`.
        nsd_tolerance_mm: how far apart surfaces may be for `nsd`.
        ignore_label: label of the truth whose voxels do not count.

    Returns:
        structure → metric → value, NaN where it is not defined, see above.

    Raises:
        ValueError: shapes that differ, a spacing that does not fit, negative labels, an unknown metric.

    Example:
        >>> truth = np.array([[0, 1, 1, 0]])
        >>> case_metrics(np.array([[0, 1, 0, 0]]), truth, {"one": [1]}, (1, 2), ("dice", "hd95"))
        {'one': {'dice': 0.6666666666666666, 'hd95': 1.9}}
    """
    _check(prediction, truth, spacing, metrics)
    shape = [size for size in truth.shape if size != 1] or [1]
    steps = [float(step) for step, size in zip(spacing, truth.shape, strict=True) if size != 1] or [1.0]
    prediction, truth = prediction.reshape(shape), truth.reshape(shape)
    top = int(max(prediction.max(initial=0), truth.max(initial=0)))
    if top > _FEW:  # the table of all labels by all labels grows with the square of the highest
        prediction, truth, structures, ignore_label = _renumbered(prediction, truth, structures, ignore_label)
        top = int(max(prediction.max(initial=0), truth.max(initial=0)))
    confusion = _confusion(prediction, truth, top + 1, ignore_label)
    result: dict[str, dict[str, float]] = {}
    for name, labels in structures.items():
        inside = np.zeros(top + 1, bool)
        inside[[label for label in labels if 0 <= label <= top]] = True
        counts = _overlap(confusion, inside)
        values = {metric: counts[metric] for metric in metrics if metric in counts}
        if wanted := [metric for metric in metrics if metric not in counts]:
            box = _box(prediction, truth, inside)
            ignored = None if ignore_label is None else truth[box] == ignore_label
            masks = inside[prediction[box]], inside[truth[box]]
            if ignored is not None:
                masks = masks[0] & ~ignored, masks[1] & ~ignored
            if set(wanted) & set(SURFACE):
                values |= _surface(*masks, ignored, steps, nsd_tolerance_mm)
            if set(wanted) & set(LESION):
                values |= _lesions(*masks)
        result[name] = {metric: values[metric] for metric in metrics}
    return result


def _check(prediction: Labels, truth: Labels, spacing: Sequence[float], metrics: Sequence[str]) -> None:
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth must have one shape. Got: {prediction.shape} and {truth.shape}")
    if len(spacing) != truth.ndim or not all(step > 0 and math.isfinite(step) for step in spacing):
        raise ValueError(f"spacing must be {truth.ndim} positive lengths in mm. Got: {tuple(spacing)}")
    if unknown := [metric for metric in metrics if metric not in METRICS]:
        raise ValueError(f"metrics must be of {', '.join(METRICS)}. Got: {', '.join(unknown)}")
    for name, labels in (("prediction", prediction), ("truth", truth)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} must hold integers. Got: {labels.dtype}")
        if labels.size and labels.min() < 0:
            raise ValueError(f"{name} must hold no label below 0. Got: {labels.min()}")


def _renumbered(
    prediction: Labels, truth: Labels, structures: Mapping[str, Sequence[int]], ignore_label: int | None
) -> tuple[Labels, Labels, dict[str, list[int]], int | None]:
    """Labels that are asked for as 1, 2, …; all others as 0, in no structure."""
    asked = {0, *(label for labels in structures.values() for label in labels)}
    known = np.array(sorted(asked | ({ignore_label} if ignore_label is not None else set())))
    number = {int(label): place for place, label in enumerate(known, 1)}

    def renumbered(labels: Labels) -> Labels:
        place = np.searchsorted(known, labels)
        found = known[np.minimum(place, len(known) - 1)] == labels
        return np.where(found, place + 1, 0)

    ignored = None if ignore_label is None else number[ignore_label]
    parts = {name: [number[label] for label in labels] for name, labels in structures.items()}
    return renumbered(prediction), renumbered(truth), parts, ignored


def _confusion(prediction: Labels, truth: Labels, number: int, ignore_label: int | None) -> NDArray[np.int64]:
    """Voxels by true and predicted label, the ignored ones left out."""
    pairs = truth.astype(np.int64).ravel() * number + prediction.ravel()
    confusion = np.bincount(pairs, minlength=number * number).reshape(number, number)
    if ignore_label is not None and 0 <= ignore_label < number:
        confusion[ignore_label] = 0
    return confusion


def _overlap(confusion: NDArray[np.int64], inside: Mask) -> dict[str, float]:
    tp = int(confusion[inside][:, inside].sum())
    fp = int(confusion[~inside][:, inside].sum())
    fn = int(confusion[inside][:, ~inside].sum())
    tn = int(confusion.sum()) - tp - fp - fn
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "iou": _ratio(tp, tp + fp + fn),
        "precision": _ratio(tp, tp + fp),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
    }


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _box(prediction: Labels, truth: Labels, inside: Mask) -> tuple[slice, ...]:
    """The smallest box around the structure in either, and nothing of the image if it is in neither."""
    either = inside[prediction]
    either |= inside[truth]
    box = []
    for axis in range(either.ndim):
        found = np.flatnonzero(either.any(tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 0))
    return tuple(box)


def _surface(
    prediction: Mask, truth: Mask, ignored: Mask | None, spacing: Sequence[float], tolerance: float
) -> dict[str, float]:
    if not prediction.any() or not truth.any():
        nsd = 0.0 if prediction.any() or truth.any() else math.nan
        return {"hd95": math.nan, "assd": math.nan, "nsd": nsd}
    surfaces = [_surface_of(mask, ignored) for mask in (prediction, truth)]
    if not all(surface.any() for surface in surfaces):  # all of it borders on ignored voxels: there is no surface to compare
        return {"hd95": math.nan, "assd": math.nan, "nsd": math.nan}
    both = surfaces[0] & surfaces[1]
    points = [np.argwhere(surface) * np.asarray(spacing) for surface in surfaces]
    distances = []
    for here, there in ((0, 1), (1, 0)):
        # What lies on both surfaces has distance 0, and is most of it: only the rest is asked for.
        apart = np.argwhere(surfaces[here] & ~both) * np.asarray(spacing)
        found = np.zeros(len(points[here]))
        if len(apart):
            found[: len(apart)] = KDTree(points[there], balanced_tree=False, compact_nodes=False).query(apart)[0]
        distances.append(found)
    together = np.concatenate(distances)
    return {
        "hd95": max(float(np.percentile(each, 95)) for each in distances),
        "assd": float(together.mean()),
        # Spacings are often stored as float32: a voxel of 4.4 mm is one of 4.4000001, and within 4.4 mm.
        "nsd": float((together <= tolerance * (1 + _ROUNDING)).mean()),
    }


def _surface_of(mask: Mask, ignored: Mask | None) -> Mask:
    solid = mask if ignored is None else mask | ignored
    return mask & ~ndimage.binary_erosion(solid)


def _lesions(prediction: Mask, truth: Mask) -> dict[str, float]:
    everywhere = np.ones((3,) * truth.ndim)
    found: list[tuple[int, int]] = []
    for lesions, other in ((truth, prediction), (prediction, truth)):
        numbered, number = ndimage.label(lesions, everywhere)
        touched = np.unique(numbered[other])
        found.append((number, int((touched > 0).sum())))
    (there, hit), (predicted, right) = found
    return {"lesion_recall": _ratio(hit, there), "lesion_fp": float(predicted - right)}
