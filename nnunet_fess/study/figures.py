"""Figures of a study, to be read in grey and by the colour-blind: lines differ in marker and dash, not in colour alone."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import font_manager, rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nnunet_fess import files
from nnunet_fess.study.curves import Curve
from nnunet_fess.study.metrics import LENGTHS
from nnunet_fess.study.results import Case
from nnunet_fess.study.statistics import Summary

# Okabe and Ito's colours; two neighbours differ in lightness, too.
COLOURS = ("#000000", "#E69F00", "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7")
MARKERS = "osD^vPX*<>"
DASHES = ("-", "--", ":", "-.")
# More lines than that in one panel cannot be told apart: each trainer then gets a panel of its own beside the baseline.
_TOGETHER = 7
_IN_A_COLUMN = 24  # names of a legend
# Fonts that have the letters that matplotlib's own lacks; those that are installed are asked for what it has not.
_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Source Han Sans", "WenQuanYi Zen Hei", "IPAexGothic", "Hiragino Sans"),
    *("PingFang SC", "Yu Gothic", "MS Gothic", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS"),
)
_NAMES = {"dice": "Dice", "iou": "IoU", "hd95": "HD95", "assd": "ASSD", "nsd": "NSD"}


@dataclass(frozen=True)
class Style:
    """How a trainer's line is drawn, the same in all figures of a study."""

    color: str
    marker: str
    linestyle: str


def styles(trainers: Sequence[str]) -> dict[str, Style]:
    """A style per trainer; no two are alike for the first seventy."""
    return {
        name: Style(COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)], DASHES[(n // len(COLOURS) + n) % len(DASHES)])
        for n, name in enumerate(trainers)
    }


@contextlib.contextmanager
def as_written() -> Iterator[None]:
    """Names are drawn as they are written: no dollar sign begins a formula, and letters of any script are looked for."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    family = [*rcParams["font.family"], *(name for name in _FONTS if name in installed)]
    with warnings.catch_warnings(), rc_context({"text.parse_math": False, "font.family": family}):
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box then stands for it; the tables have the name
        yield


def metric_name(metric: str) -> str:
    """As an axis says it, with the unit."""
    return _NAMES.get(metric, metric.replace("_", " ")) + (" (mm)" if metric in LENGTHS else "")


def box_plots(cases: Sequence[Case], trainers: Sequence[str], structures: Sequence[str], metric: str, title: str) -> Figure:
    """A panel per structure, a box per trainer: quartiles and median of all cases of all runs, whiskers to 5 and 95 %.

    Cases beyond the whiskers are dots. What is not defined is not drawn; the number of values stands at the box.
    """
    columns = min(3, len(structures))
    rows = math.ceil(len(structures) / columns)
    height = 0.9 + 0.27 * len(trainers)
    figure = Figure(figsize=(4.2 * columns, max(height, 1.8) * rows + 0.4), layout="constrained")
    figure.suptitle(title)
    by_name: dict[tuple[str, str], list[float]] = {}
    for case in cases:
        value = case.values.get(metric, math.nan)
        if math.isfinite(value):
            by_name.setdefault((case.trainer, case.structure), []).append(value)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, structure in zip(panels.flat, structures, strict=False):
        values = [by_name.get((trainer, structure), []) for trainer in trainers]
        panel.boxplot(
            values,
            orientation="horizontal",
            whis=(5, 95),
            widths=0.6,
            patch_artist=True,
            boxprops={"facecolor": "#D9E6F2", "edgecolor": "#333333"},
            medianprops={"color": "#D55E00", "linewidth": 2},
            flierprops={"marker": ".", "markersize": 3, "markerfacecolor": "#333333", "markeredgecolor": "none"},
        )
        labels = [
            f"{_short(name)} ({len(found)})" if not found else _short(name)
            for name, found in zip(trainers, values, strict=True)
        ]
        panel.set_yticks(range(1, len(trainers) + 1), labels)
        panel.set_title(f"{structure} (n = {_range([len(found) for found in values])})", fontsize=9)
        panel.set_xlabel(metric_name(metric))
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.grid(axis="x", alpha=0.3)
    panels[0, 0].invert_yaxis()  # the first trainer on top; the panels share the axis
    for panel in panels.flat[len(structures) :]:
        panel.set_visible(False)
    return figure


def learning_curves(
    found: Sequence[Summary],
    cases_of: Mapping[int | str, int],
    trainers: Sequence[str],
    baseline: str,
    metric: str,
    structure: str,
) -> Figure:
    """Score over the number of training cases, mean ± standard error over the runs.

    Args:
        found: summaries of one dataset.
        cases_of: training size as the study's file has it → number of training cases.
        trainers: whose.
        baseline: drawn in every panel where there is one per trainer.
        metric: which.
        structure: which, or the mean.
    """
    points: dict[str, list[tuple[int, float, float]]] = {name: [] for name in trainers}
    for row in found:
        if row.metric == metric and row.structure == structure and row.trainer in points and math.isfinite(row.mean):
            points[row.trainer].append((cases_of[row.setting.size], row.mean, row.sem))

    def draw(panel: Axes, name: str, style: Style) -> None:
        if not points[name]:
            return
        x, y, sem = zip(*sorted(points[name]), strict=True)
        bars = [value if math.isfinite(value) else 0 for value in sem]
        panel.errorbar(x, y, bars, label=name, capsize=3, **vars(style))

    figure, panels = _panels(trainers, baseline, draw)
    sizes = sorted({x for rows in points.values() for x, _, _ in rows})
    for panel in panels:
        panel.set_xscale("log")
        panel.set_xticks(sizes, [str(size) for size in sizes])
        panel.minorticks_off()
        panel.set_xlabel("training cases")
        panel.set_ylabel(f"{metric_name(metric)}, {structure}")
        panel.grid(alpha=0.3)
    return figure


def curve_panels(curves: Mapping[str, Mapping[str, Curve]], title: str) -> Figure:
    """A panel per quantity, a line per trainer, over epochs.

    Args:
        curves: trainer → quantity → epoch → value.
        title: of the figure.
    """
    quantities = list(dict.fromkeys(quantity for of_trainer in curves.values() for quantity in of_trainer))
    columns = min(3, max(1, len(quantities)))
    rows = math.ceil(len(quantities) / columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows + 0.6), layout="constrained")
    figure.suptitle(title)
    panels = figure.subplots(max(rows, 1), columns, squeeze=False)
    look = styles(list(curves))
    for panel, quantity in zip(panels.flat, quantities, strict=False):
        for name, of_trainer in curves.items():
            curve = of_trainer.get(quantity, {})
            if curve:
                every = max(1, len(curve) // 8)
                panel.plot(list(curve), list(curve.values()), label=name, markevery=every, markersize=4, **vars(look[name]))
        panel.set_title(quantity, fontsize=10)
        panel.set_xlabel("epoch")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.grid(alpha=0.3)
    for panel in panels.flat[len(quantities) :]:
        panel.set_visible(False)
    _legend(figure, below=True)
    return figure


def cost_against_score(
    costs: Mapping[str, float], found: Sequence[Summary], metric: str, structure: str, unit: str = "minutes per run"
) -> Figure:
    """A point per trainer, with its name: what it costs and what it reaches, ± standard deviation over the runs."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    panel = figure.subplots()
    look = styles(list(costs))
    for row in found:
        if row.metric == metric and row.structure == structure and row.trainer in costs and math.isfinite(row.mean):
            style = look[row.trainer]
            sd = row.sd if math.isfinite(row.sd) else None
            panel.errorbar(
                costs[row.trainer],
                row.mean,
                sd,
                color=style.color,
                marker=style.marker,
                capsize=3,
                linestyle="none",
                label=row.trainer,
            )
    panel.set_xlabel(unit)
    panel.set_ylabel(f"{metric_name(metric)}, {structure}")
    panel.margins(x=0.15)
    panel.grid(alpha=0.3)
    _legend(figure)
    return figure


def by_plans(found: Sequence[Summary], trainers: Sequence[str], metric: str, structure: str) -> Figure:
    """A column per plans, a marker per trainer: mean ± standard deviation over the runs."""
    plans = list(dict.fromkeys(row.setting.plans for row in found))
    figure = Figure(figsize=(2.5 + 1.6 * len(plans), 4.2), layout="constrained")
    panel = figure.subplots()
    for place, (name, style) in enumerate(styles(trainers).items()):
        rows = [row for row in found if (row.trainer, row.metric, row.structure) == (name, metric, structure)]
        if rows := [row for row in rows if math.isfinite(row.mean)]:
            shift = 0.6 * ((place + 0.5) / len(trainers) - 0.5)
            panel.errorbar(
                [plans.index(row.setting.plans) + shift for row in rows],
                [row.mean for row in rows],
                [row.sd if math.isfinite(row.sd) else 0 for row in rows],
                color=style.color,
                marker=style.marker,
                capsize=3,
                linestyle="none",
                label=name,
            )
    panel.set_xticks(range(len(plans)), [_short(name) for name in plans])
    panel.set_xlim(-0.5, len(plans) - 0.5)
    panel.set_ylabel(f"{metric_name(metric)}, {structure}")
    panel.grid(axis="y", alpha=0.3)
    _legend(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG whole or not at all."""
    with files.whole(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=110)


def _panels(trainers: Sequence[str], baseline: str, draw: object) -> tuple[Figure, list[Axes]]:
    """All trainers in one panel, or, if they are many, each in its own beside the baseline."""
    assert callable(draw)
    look = styles(trainers)
    if len(trainers) <= _TOGETHER:
        figure = Figure(figsize=(6.5, 4.2), layout="constrained")
        panel = figure.subplots()
        for name in trainers:
            draw(panel, name, look[name])
        _legend(figure)
        return figure, [panel]
    others = [name for name in trainers if name != baseline]
    columns = 4
    rows = math.ceil(len(others) / columns)
    figure = Figure(figsize=(3.2 * columns, 2.7 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, name in zip(panels.flat, others, strict=False):
        if baseline in trainers:
            draw(panel, baseline, Style("#888888", "o", "--"))
        draw(panel, name, Style("#0072B2", "s", "-"))
        panel.legend(fontsize=7)
    for panel in panels.flat[len(others) :]:
        panel.set_visible(False)
    return figure, list(panels.flat[: len(others)])


def _legend(figure: Figure, below: bool = False) -> None:
    """Names outside of the panels, for which the figure grows: forty long ones would leave no room for what they name."""
    found = {label: handle for panel in figure.axes for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    if not found:
        return
    names = [_short(name) for name in found]
    width, height = figure.get_size_inches()
    column, line = 0.5 + 0.08 * max(map(len, names)), 0.18
    columns = max(1, int(width / column)) if below else math.ceil(len(names) / _IN_A_COLUMN)
    lines = math.ceil(len(names) / columns)
    if below:
        figure.set_size_inches(max(width, column), height + line * lines)
    else:
        figure.set_size_inches(width + column * columns, max(height, line * lines + 0.3))
    place = "outside lower center" if below else "outside right upper"
    figure.legend(list(found.values()), names, loc=place, ncols=columns, fontsize=8)


def _short(name: str, longest: int = 34) -> str:
    """Names that are long differ at their ends: what is left out is from the middle."""
    return name if len(name) <= longest else f"{name[: longest // 2]}…{name[-((longest - 1) // 2) :]}"


def _range(numbers: Sequence[int]) -> str:
    low, high = (min(numbers), max(numbers)) if numbers else (0, 0)
    return str(low) if low == high else f"{low} to {high}"


def median_and_worst(cases: Sequence[Case], metric: str, lower_is_better: bool) -> list[str]:
    """The case in the middle and the one at the end of what all trainers together reach, mean over structures and runs."""
    gathered: dict[str, list[float]] = {}
    for case in cases:
        gathered.setdefault(case.case, []).append(case.values.get(metric, math.nan))
    means = {name: float(np.nanmean(values)) for name, values in gathered.items() if np.isfinite(values).any()}
    order = sorted(means, key=lambda name: (means[name] if lower_is_better else -means[name], name))
    return list(dict.fromkeys([order[len(order) // 2], order[-1]])) if order else []
