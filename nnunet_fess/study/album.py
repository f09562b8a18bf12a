"""All figures of a report, drawn from runs and scores, as files with their captions."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from nnunet_fess.errors import UserError
from nnunet_fess.folders import expanded
from nnunet_fess.study import curves, figures, overlays
from nnunet_fess.study.metrics import LOWER_IS_BETTER
from nnunet_fess.study.results import Case, Run
from nnunet_fess.study.statistics import MEAN, Setting, Summary
from nnunet_fess.study.tables import Described, by_plans, setting_name, structures_of

FIGURES = "figures"


class _Album:
    """Figures as files, with their captions, in the order in which they were kept."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.pictures: list[tuple[Path, str]] = []

    def keep(self, name: str, figure: Figure, caption: str) -> None:
        path = self.folder / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}.png"
        figures.save(figure, path)
        self.pictures.append((path, caption))


@figures.as_written()
def draw(
    results: Path,
    described: Described,
    settings: Sequence[Setting],
    summary: Sequence[Summary],
    finished: Sequence[Run],
    cases: Sequence[Case],
) -> list[tuple[Path, str]]:
    """All figures, as files and with their captions."""
    album = _Album(results / FIGURES)
    for setting in settings:
        here = [case for case in cases if Setting.of(case) == setting]
        runs = [run for run in finished if Setting.of(run) == setting]
        structures = [structure for structure in structures_of(summary, setting) if structure != MEAN]
        _draw_setting(album, described, setting, setting_name(setting, settings), structures, runs, here)
    several = len({setting.plans for setting in settings}) > 1
    for dataset, plans in dict.fromkeys((setting.dataset, setting.plans) for setting in settings):
        rows = [row for row in summary if (row.setting.dataset, row.setting.plans) == (dataset, plans)]
        runs = [run for run in finished if (run.dataset, run.plans) == (dataset, plans)]
        _draw_dataset(album, described, f"{dataset}, {plans}" if several else dataset, rows, runs)
    for name, columns in by_plans(settings):
        rows = [row for row in summary if row.setting in columns]
        first, structure = described.metrics[0], structures_of(rows, columns[0])[-1]
        figure = figures.by_plans(rows, list(dict.fromkeys(row.trainer for row in rows)), first, structure)
        caption = f"{figures.metric_name(first)} by plans, {name}: mean ± standard deviation over the runs."
        album.keep(f"plans_{columns[0].dataset}_{columns[0].size}", figure, caption)
    return album.pictures


def _draw_setting(
    album: _Album,
    described: Described,
    setting: Setting,
    name: str,
    structures: Sequence[str],
    runs: Sequence[Run],
    cases: Sequence[Case],
) -> None:
    trainers = list(dict.fromkeys(case.trainer for case in cases))
    first = described.metrics[0]
    file = "_".join(map(str, setting))
    for metric in described.metrics:
        if metric in (first, "hd95"):
            title = f"{figures.metric_name(metric)}, {name}"
            figure = figures.box_plots(cases, trainers, structures, metric, title)
            album.keep(
                f"boxes_{metric}_{file}",
                figure,
                f"{title}: quartiles and median of the cases of all runs; whiskers to 5 and 95 %.",
            )
    logs = {trainer: [curves.training_curves(run.model) for run in runs if run.trainer == trainer] for trainer in trainers}
    if means := {trainer: _mean_curves(of_runs) for trainer, of_runs in logs.items() if any(of_runs)}:
        caption = f"nnU-Net's training log, mean over the runs, {name}. Losses of different trainers are different quantities."
        album.keep(f"training_{file}", figures.curve_panels(means, f"Training, {name}"), caption)
    for trainer in trainers:
        parts = [curves.component_curves(run.model) for run in runs if run.trainer == trainer]
        if any(parts):
            title = f"Parts of the loss of {trainer}, {name}"
            figure = figures.curve_panels({trainer: _mean_curves(parts)}, title)
            album.keep(f"components_{trainer}_{file}", figure, f"{title}, mean over the runs.")
    for case in figures.median_and_worst(cases, first, first in LOWER_IS_BETTER):
        figure_or_none = _overlay(case, runs, cases, first)
        if figure_or_none is not None:
            caption = f"{case}, {name}: right, too much, too little and misnamed voxels of every trainer's first run."
            album.keep(f"overlay_{case}_{file}", figure_or_none, caption)


def _draw_dataset(album: _Album, described: Described, dataset: str, summary: Sequence[Summary], runs: Sequence[Run]) -> None:
    trainers = list(dict.fromkeys(row.trainer for row in summary))
    first = described.metrics[0]
    metric = figures.metric_name(first)
    sizes: dict[int | str, int] = {run.size: run.training_cases for run in runs}
    summary = [row for row in summary if row.setting.size in sizes]
    if not summary:
        return
    structure = structures_of(summary, summary[0].setting)[-1]
    if len(sizes) > 1:
        figure = figures.learning_curves(summary, sizes, trainers, described.baseline, first, structure)
        caption = f"{dataset}: {metric} over the number of training cases, mean ± standard error over the runs."
        album.keep(f"learning_{dataset}", figure, caption)
    if costs := _costs(runs):
        largest = max(sizes, key=lambda size: sizes[size])
        figure = figures.cost_against_score(costs, [row for row in summary if row.setting.size == largest], first, structure)
        caption = f"{dataset}: minutes per run, all its commands included, against {metric} ± standard deviation."
        album.keep(f"cost_{dataset}", figure, caption)


def _mean_curves(of_runs: Sequence[Mapping[str, curves.Curve]]) -> dict[str, curves.Curve]:
    names = dict.fromkeys(name for curve in of_runs for name in curve)
    return {name: curves.mean_curve([curve[name] for curve in of_runs if name in curve]) for name in names}


def _costs(runs: Sequence[Run]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for run in runs:
        if run.seconds > 0:
            found.setdefault(run.trainer, []).append(run.seconds / 60)
    return {trainer: sum(minutes) / len(minutes) for trainer, minutes in found.items()}


def _overlay(case: str, runs: Sequence[Run], cases: Sequence[Case], metric: str) -> Figure | None:
    """The picture of one case, if its files are still there."""
    predictions: dict[str, Path] = {}
    notes: dict[str, str] = {}
    truth: Path | None = None
    channels: list[Path] = []
    scored = {(row.run, row.case) for row in cases}
    for run in runs:
        if run.trainer in predictions or (run.id, case) not in scored:
            continue
        found = [path for path in run.predictions.glob(f"{case}.*") if path.suffix not in (".pkl", ".npz")]
        true = [path for path in run.truth.glob(f"{case}.*") if path.is_file()]
        if not found or not true:
            continue
        predictions[run.trainer] = found[0]
        truth = true[0]
        ending = truth.name[len(case) :]
        channels = channels or overlays.channels_of(case, _image_folders(run), ending)
        values = [row.values.get(metric, math.nan) for row in cases if row.run == run.id and row.case == case]
        values = [value for value in values if math.isfinite(value)]
        notes[run.trainer] = f"{figures.metric_name(metric)} " + (f"{sum(values) / len(values):.3f}" if values else "undefined")
    if truth is None:
        return None
    try:
        return overlays.overlay_figure(case, channels, truth, predictions, notes)
    except UserError:  # a file that was moved since must not cost the whole report
        return None


def _image_folders(run: Run) -> list[Path]:
    """Where the image of a test case may be: beside its labels, in the dataset, in the raw dataset if that is another folder.

    With `test: validation` the labels are nnU-Net's copies among the preprocessed data, where there are no images.
    """
    datasets = [run.dataset_json.parent]
    if raw := os.environ.get("nnUNet_raw"):
        datasets.append(expanded(raw) / run.dataset)
    beside = run.truth.with_name(run.truth.name.replace("labels", "images"))
    return [beside, *(dataset / name for dataset in datasets for name in ("imagesTr", "imagesTs"))]
