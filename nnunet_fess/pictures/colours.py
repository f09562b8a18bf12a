"""Colours that everybody can tell apart, on grey and from each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex, to_rgba

# Okabe and Ito's set for the colour-blind, without its black, and its yellow for what lies over the structures.
DISTINCT = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
MARKED = "#F0E442"
# What became of a voxel. Blue, vermilion and yellow, of that set too, differ in lightness as well, whatever the eye.
OUTCOMES = {"true positive": "#0072B2", "false positive": "#D55E00", "false negative": "#F0E442"}
IGNORED = "#808080"


def distinct(number: int) -> list[str]:
    """As many colours as there are structures; beyond six they come from larger sets, told apart by lightness too."""
    if number <= len(DISTINCT):
        return list(DISTINCT[:number])
    wheel = [to_hex(colormaps[name](place)) for name in ("tab20", "tab20b", "tab20c") for place in range(20)]
    return [wheel[place % len(wheel)] for place in range(number)]


def paint(shape: Sequence[int], masks: Mapping[str, np.ndarray], opacity: float) -> np.ndarray:
    """Masks (y, x) by their colour → translucent colours (y, x, 4); a later mask covers an earlier one."""
    painted = np.zeros((*shape, 4))
    for colour, mask in masks.items():
        painted[mask] = to_rgba(colour, opacity)
    return painted


def outcomes(predicted: np.ndarray, truth: np.ndarray, opacity: float = 0.6) -> np.ndarray:
    """Predicted and true mask (y, x) → translucent colours of true positives, false positives and false negatives (y, x, 4)."""
    masks = (predicted & truth, predicted & ~truth, truth & ~predicted)
    return paint(truth.shape, dict(zip(OUTCOMES.values(), masks, strict=True)), opacity)
