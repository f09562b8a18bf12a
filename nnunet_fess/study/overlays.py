"""What each trainer got right, too much and too little in one case: the picture of FESS's Figure 2, for any trainers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_fess.errors import UserError
from nnunet_fess.pictures import planes
from nnunet_fess.pictures.colours import OUTCOMES, paint

# A voxel of the right region under the name of another structure; the other colours are those of all our overlays.
WRONG = {"another structure": "#CC79A7"}
_COLUMNS = 5


def overlay_figure(
    title: str, channels: Sequence[Path], truth: Path, predictions: Mapping[str, Path], notes: Mapping[str, str]
) -> Figure:
    """One slice of a case, a panel per trainer.

    The slice is the one with the most true foreground (of several alike, the middle one), across the axis with the thickest
    voxels; the channel is that in which the foreground stands out most from what surrounds it, and the grey values are windowed
    around it.

    Args:
        title: of the figure.
        channels: the image's files; none: the structures are drawn on black, and the picture says that there is no image.
        truth: the true label map.
        predictions: trainer → its label map.
        notes: trainer → a few words below its name, such as its Dice.

    Raises:
        UserError: a file cannot be read, or does not fit the truth.
    """
    image = _read(truth)
    true = sitk.GetArrayFromImage(image).astype(np.int64)
    if true.ndim != 3:
        true = true.reshape((1, *true.shape[-2:]))
    flat = image.GetDimension() != 3
    geometry = planes.Geometry((1.0, *image.GetSpacing()[::-1])) if flat else planes.geometry_of_image(image)
    true = geometry.turn(true)
    volumes = [geometry.turn(_array(path, image)) for path in channels]
    grey = _clearest(volumes, true > 0)
    spacing = geometry.turned_spacing
    axis = 0 if flat else int(np.argmax(spacing)) if max(spacing) > 1.5 * min(spacing) else 0
    areas = (true > 0).sum(tuple({0, 1, 2} - {axis}))
    index = int(np.median(np.flatnonzero(areas == areas.max())))
    across = [step for other, step in enumerate(spacing) if other != axis]
    aspect = across[0] / across[1]
    window = _window(grey, true > 0)

    columns = min(_COLUMNS, len(predictions) + 1)
    rows = math.ceil((len(predictions) + 1) / columns)
    figure = Figure(figsize=(2.5 * columns, 2.8 * rows + 0.9), layout="constrained", facecolor="white")
    figure.suptitle(f"{title}, {geometry.name(axis)}")
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.axis("off")
    slices = {"image and truth" if channels else "truth; the image is not here": true} | {
        name: geometry.turn(_array(path, image).astype(np.int64)) for name, path in predictions.items()
    }
    target = true.take(index, axis)
    for panel, (name, labels) in zip(panels.flat, slices.items(), strict=False):
        panel.imshow(grey.take(index, axis), cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
        found = labels.take(index, axis)
        if labels is true:
            for label in np.unique(target[target > 0]):
                panel.contour(target == label, [0.5], colors="white", linewidths=0.8)
        else:
            panel.imshow(paint(found.shape, _outcomes(found, target), 0.6), aspect=aspect, interpolation="nearest")
        panel.set_title(name + (f"\n{notes[name]}" if name in notes else ""), fontsize=8)
        left, right, up, _ = geometry.edges(axis)
        for text, x, y in ((left, 0.02, 0.5), (right, 0.98, 0.5), (up, 0.5, 0.98)):
            panel.text(
                x,
                y,
                text,
                color="white",
                fontsize=7,
                ha="center",
                va="center",
                transform=panel.transAxes,
                bbox={"color": "black", "pad": 0.5},
            )
    handles = [Patch(facecolor=colour, edgecolor="#333333", label=name) for name, colour in (OUTCOMES | WRONG).items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, facecolor="#BBBBBB")
    return figure


def channels_of(case: str, folders: Sequence[Path], ending: str) -> list[Path]:
    """The channels of a case in the first of nnU-Net's image folders that has them."""
    for folder in folders:
        if found := sorted(folder.glob(f"{_escaped(case)}_[0-9][0-9][0-9][0-9]{ending}")):
            return found
    return []


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _outcomes(found: NDArray[np.int64], truth: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    masks = [(found > 0) & (found == truth), (found > 0) & (truth == 0), (found == 0) & (truth > 0)]
    masks.append((found > 0) & (truth > 0) & (found != truth))
    return dict(zip((OUTCOMES | WRONG).values(), masks, strict=True))


def _clearest(volumes: Sequence[NDArray[np.float64]], foreground: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not volumes:
        return np.zeros(foreground.shape)
    if not foreground.any() or len(volumes) == 1:
        return volumes[0]
    ring = ndimage.binary_dilation(foreground, iterations=4) & ~foreground
    if not ring.any():
        return volumes[0]

    def contrast(volume: NDArray[np.float64]) -> float:
        spread = float(volume[foreground | ring].std())
        return abs(float(volume[foreground].mean() - volume[ring].mean())) / spread if spread else 0.0

    return max(volumes, key=contrast)


def _window(grey: NDArray[np.float64], foreground: NDArray[np.bool_]) -> tuple[float, float]:
    """From the grey values in and around the foreground: 1 and 99 %."""
    values = grey[ndimage.binary_dilation(foreground, iterations=15)] if foreground.any() else grey
    low, high = np.percentile(values, [1, 99]) if values.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _read(path: Path) -> sitk.Image:
    try:
        return sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read: {str(error).strip().splitlines()[-1]}") from error


def _array(path: Path, like: sitk.Image) -> NDArray[np.float64]:
    image = _read(path)
    if image.GetSize() != like.GetSize():
        raise UserError(f"{path} has {image.GetSize()} voxels, the truth {like.GetSize()}")
    array = np.nan_to_num(sitk.GetArrayFromImage(image).astype(np.float64))
    return array if array.ndim == 3 else array.reshape((1, *array.shape[-2:]))
