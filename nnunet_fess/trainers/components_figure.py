"""Draws the parts of the loss over the epochs: one panel per question, not per column."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

# Okabe and Ito's colours, which colour-blind readers tell apart, without black (the whole) and yellow (pale on white).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
_DASHES = ("-", "--", "-.", ":")
# Sizes within one panel that differ by more than this cannot be read on a linear axis.
_SPREAD = 30
_TITLES = {
    "spatial": "spatial loss",
    "feature": "feature term",
    "feature_gradient_share": "gradient of the feature term / that of the spatial loss",
    "rejected_embeddings": "embeddings that were not finite, all epochs",
}
_MARKED = 60  # so many epochs or fewer are drawn with a mark for each

Row = dict[str, float]


def draw(history: Sequence[Row], parts: Sequence[str], title: str) -> Figure:
    """Spatial loss and its parts in one panel; below, one each for what is of another kind.

    Args:
        history: one row per epoch, "epoch" and name → value.
        parts: names that are drawn together with "spatial".
        title: over all panels.
    """
    columns = list(dict.fromkeys(name for row in history for name in row if name != "epoch"))
    spatial = [name for name in columns if name == "spatial" or name in parts]
    weights = [name for name in columns if name == "lambda" or name.startswith("weight_")]
    single = [[name] for name in columns if name not in (*spatial, *weights) and _says_something(history, name)]
    panels = [panel for panel in (spatial, *single, weights) if panel] or [[]]
    # nnU-Net's progress.png leaves seaborn's settings behind, with letters for a figure of 30 inches.
    with matplotlib.style.context("default"):
        heights = [4.0, *[2.2] * (len(panels) - 1)]
        figure = Figure(figsize=(9, 0.7 + sum(heights)), layout="constrained")
        all_axes = figure.subplots(len(panels), sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axes, names in zip(all_axes, panels, strict=True):
            _panel(axes, history, names)
        all_axes[-1].set_xlabel("epoch")
        if len(history) == 1:
            all_axes[-1].set_xticks([history[0]["epoch"]])
        else:
            all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.suptitle("\n".join(textwrap.wrap(title.replace("_", "_ "), 80)).replace("_ ", "_"), fontsize=11)
    return figure


def _panel(axes: Axes, history: Sequence[Row], names: Sequence[str]) -> None:
    epochs = [row["epoch"] for row in history]
    marker, thin = ("o", 1.0) if len(history) <= _MARKED else (None, 0.6)
    others = [name for name in names if name != "spatial"]
    for name in names:
        values = [row.get(name, math.nan) for row in history]
        style: dict[str, Any]
        if name == "spatial":
            style = {"color": "black", "linewidth": 2.0 * thin, "linestyle": "-", "zorder": 3}
        else:
            number = others.index(name)
            style = {
                "color": _COLOURS[number % len(_COLOURS)],
                "linewidth": 1.3 * thin,
                "linestyle": _DASHES[number // len(_COLOURS) % len(_DASHES)] if len(names) > 1 else "-",
            }
        label = "spatial (the sum)" if name == "spatial" and others else name.removeprefix("weight_")
        axes.plot(epochs, values, marker=marker, markersize=3, label=f"{label}: {values[-1]:.3g}", **style)
    _scale(axes, [row[name] for row in history for name in names if math.isfinite(row.get(name, math.nan))])
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        weights = all(name == "lambda" or name.startswith("weight_") for name in names)
        axes.set_title("weights" if weights else "loss, mean over an epoch", loc="left", fontsize=10)
        legend = axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9, title="last epoch")
        legend.get_title().set_fontsize(9)
    elif names:
        title = _TITLES.get(names[0], names[0].replace("_", " "))
        axes.set_title(f"{title}, last epoch: {values[-1]:.3g}", loc="left", fontsize=10)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the sizes differ too much for a linear axis; linear if some are negative, as nnU-Net's Dice is."""
    if not values or min(values) < 0 or max(values) <= _SPREAD * min(values):
        return
    positive = sorted(value for value in values if value > 0)
    lowest = positive[len(positive) // 100]  # a single dip to almost nothing must not squeeze the rest
    if positive[-1] > _SPREAD * lowest:
        axes.set_yscale("log")
        axes.set_ylim(bottom=lowest / 2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())


def _says_something(history: Sequence[Row], name: str) -> bool:
    return name != "rejected_embeddings" or any(row.get(name, 0) for row in history)
