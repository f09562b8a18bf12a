"""Predictions of one case side by side: the classes, and for every region what is right, too much and missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from nnunet_fess.files import whole
from nnunet_fess.pictures.colours import OUTCOMES, distinct, outcomes, paint
from nnunet_fess.pictures.planes import Geometry, choose, counts

_OPACITY = 0.6
_TRUE = "#FFFFFF"
_PANEL = 2.3  # inches, the width of one


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        title: above the picture.
        geometry: how the volumes lie in the patient.
        images: name → volume (Z, Y, X); the first is shown with the classes.
        truth: label map (Z, Y, X).
        predictions: name → label map (Z, Y, X).
        classes: label value → name.
        regions: name → the label values that it is made of; overlapping or not.
        shown_on: region → the image that shows it best; the first image where none is named.
    """

    title: str
    geometry: Geometry
    images: Mapping[str, np.ndarray]
    truth: np.ndarray
    predictions: Mapping[str, np.ndarray]
    classes: Mapping[int, str]
    regions: Mapping[str, Sequence[int]]
    shown_on: Mapping[str, str] = field(default_factory=dict)


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks; NaN if both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else float("nan")


def class_colours(labels: np.ndarray, classes: Mapping[int, str]) -> np.ndarray:
    """Label values (y, x) → translucent colours (y, x, 4)."""
    colours = distinct(len(classes))
    return paint(labels.shape, {colour: labels == value for colour, value in zip(colours, classes, strict=True)}, _OPACITY)


def draw(case: Comparison, target: Path) -> None:
    """Write the picture of one axial plane, one that shows all regions as far as one plane can.

    Above: image, true classes, predicted classes. Below, a row per region: image, true region, what became of its voxels in
    each prediction, and its Dice in the whole volume.

    Args:
        case: what is compared.
        target: the picture to write; its ending says the format.
    """
    turn = case.geometry.turn
    masks = {name: np.isin(case.truth, values) for name, values in case.regions.items()}
    areas = counts({name: turn(mask) for name, mask in masks.items()})
    shape = turn(case.truth).shape
    (level,) = choose(areas, shape, [0])
    images = {name: turn(image)[level] for name, image in case.images.items()}
    first = next(iter(images))

    rows, columns = 1 + len(case.regions), 2 + len(case.predictions)
    height = _PANEL * shape[1] * case.geometry.turned_spacing[1] / (shape[2] * case.geometry.turned_spacing[2])
    figure = Figure(figsize=(_PANEL * columns, height * rows + 1.2), layout="constrained", facecolor="white")
    axes = figure.subplots(rows, columns, squeeze=False)

    _show(axes[0, 0], images[first], case.geometry)
    _show(axes[0, 1], images[first], case.geometry, class_colours(turn(case.truth)[level], case.classes))
    for cell, predicted in zip(axes[0, 2:], case.predictions.values(), strict=True):
        _show(cell, images[first], case.geometry, class_colours(turn(predicted)[level], case.classes))
    for cell, title in zip(axes[0], ("image", "truth", *case.predictions), strict=True):
        cell.set_title(title, fontsize=8)
    _name(axes[0, 0], f"classes\n({first})")
    for cells, (region, values) in zip(axes[1:], case.regions.items(), strict=True):
        shown = case.shown_on.get(region, first)
        truth = turn(masks[region])[level]
        _show(cells[0], images[shown], case.geometry)
        _show(cells[1], images[shown], case.geometry, paint(truth.shape, {_TRUE: truth}, _OPACITY))
        _name(cells[0], f"{region}\n({shown})")
        for cell, predicted in zip(cells[2:], case.predictions.values(), strict=True):
            mask = np.isin(predicted, values)
            _show(cell, images[shown], case.geometry, outcomes(turn(mask)[level], truth, _OPACITY))
            _write(cell, 0.97, 0.03, f"Dice {dice(mask, masks[region]):.2f}", "right", "bottom", 8)
    colours = distinct(len(case.classes))
    entries = [Patch(color=colour, label=name) for colour, name in zip(colours, case.classes.values(), strict=True)]
    entries += [Patch(color=colour, label=name) for name, colour in OUTCOMES.items()]
    figure.legend(
        handles=entries, loc="outside lower center", ncols=min(len(entries), 3 * columns // 2), fontsize=8, frameon=False
    )
    stored = case.geometry.stored_index(0, level, shape[0])
    figure.suptitle(f"{case.title}\n{case.geometry.name(0)}, slice {stored}; Dice: of the whole volume", fontsize=9)
    with whole(target) as unfinished:
        figure.savefig(unfinished, dpi=110, format=target.suffix[1:])


def _show(cell: Axes, image: np.ndarray, geometry: Geometry, colours: np.ndarray | None = None) -> None:
    aspect = geometry.turned_spacing[1] / geometry.turned_spacing[2]
    cell.imshow(image, cmap="gray", aspect=aspect)
    if colours is not None:
        cell.imshow(colours, interpolation="nearest", aspect=aspect)
    cell.set(xticks=[], yticks=[])
    for spine in cell.spines.values():
        spine.set_visible(False)
    left, right, _, _ = geometry.edges(0)
    _write(cell, 0.03, 0.5, left, "left", "center", 7)
    _write(cell, 0.97, 0.5, right, "right", "center", 7)


def _write(cell: Axes, x: float, y: float, text: str, across: str, up: str, size: int) -> None:
    effect = [withStroke(linewidth=1.5, foreground="black")]
    cell.text(x, y, text, transform=cell.transAxes, ha=across, va=up, color="white", fontsize=size, path_effects=effect)


def _name(cell: Axes, text: str) -> None:
    """What a row shows, left of it."""
    cell.set_ylabel(text, fontsize=8)
