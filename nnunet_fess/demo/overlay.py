"""One picture per held-out patient: the image, the truth, and each trainer's prediction with its mistakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Label values as the converter writes them, and what became of each voxel of the whole tumour.
CLASSES = {1: ("edema", "gold"), 2: ("necrosis, non-enhancing", "dodgerblue"), 3: ("enhancing", "red")}
OUTCOMES = {"true positive": "limegreen", "false positive": "magenta", "false negative": "cyan"}
_OPACITY = 0.55


def draw_case(dataset: Path, case: str, predictions: Mapping[str, Path], target: Path) -> None:
    """Draw one patient's axial slice with the largest tumour area.

    Above: FLAIR, true classes, predicted classes. Below: contrast-enhanced T1, legend, errors in the whole tumour.

    Args:
        dataset: nnU-Net's raw dataset folder; `imagesTs` and `labelsTs` hold the case.
        case: its identifier.
        predictions: trainer → folder of predictions.
        target: the PNG file to write.
    """
    description = json.loads((dataset / "dataset.json").read_text())
    ending = description["file_ending"]
    channels = {name.lower(): int(number) for number, name in description["channel_names"].items()}
    truth = _read(dataset / "labelsTs" / f"{case}{ending}")
    level = int((truth > 0).sum(axis=(1, 2)).argmax())
    flair, t1ce = (_read(dataset / "imagesTs" / f"{case}_{channels[name]:04d}{ending}")[level] for name in ("flair", "t1ce"))
    truth = truth[level]

    columns = 2 + len(predictions)
    figure = Figure(figsize=(2.6 * columns, 6), layout="constrained", facecolor="white")
    axes = figure.subplots(2, columns)
    for axis in axes.flat:
        axis.axis("off")
    _show(axes[0, 0], flair, "FLAIR")
    _show(axes[1, 0], t1ce, "T1, contrast-enhanced")
    _show(axes[0, 1], flair, "truth", classes(truth))
    entries = [Patch(color=colour, label=name) for name, colour in (*CLASSES.values(), *OUTCOMES.items())]
    axes[1, 1].legend(handles=entries, loc="center", frameon=False, title="above: classes\nbelow: whole tumor")
    for axis_pair, (trainer, folder) in zip(axes[:, 2:].T, predictions.items(), strict=True):
        predicted = _read(folder / f"{case}{ending}")[level]
        _show(axis_pair[0], flair, trainer.removeprefix("nnUNetTrainer") or trainer, classes(predicted))
        _show(axis_pair[1], flair, "", outcomes(predicted > 0, truth > 0))
    figure.suptitle(f"{case}, axial slice {level}")
    figure.savefig(target, dpi=110)


def classes(labels: np.ndarray) -> np.ndarray:
    """Label values (y, x) → translucent colours (y, x, 4)."""
    return _paint(labels.shape, [(labels == value, colour) for value, (_, colour) in CLASSES.items()])


def outcomes(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Predicted and true mask (y, x) → translucent colours of true positives, false positives and false negatives (y, x, 4)."""
    masks = (predicted & truth, predicted & ~truth, truth & ~predicted)
    return _paint(truth.shape, list(zip(masks, OUTCOMES.values(), strict=True)))


def _paint(shape: tuple[int, ...], masks: list[tuple[np.ndarray, str]]) -> np.ndarray:
    colours = np.zeros((*shape, 4))
    for mask, colour in masks:
        colours[mask] = to_rgba(colour, _OPACITY)
    return colours


def _show(axis: Axes, image: np.ndarray, title: str, colours: np.ndarray | None = None) -> None:
    axis.imshow(image, cmap="gray")
    if colours is not None:
        axis.imshow(colours, interpolation="nearest")
    axis.set_title(title, fontsize=9)


def _read(file: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
