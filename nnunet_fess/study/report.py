"""A study's report: one HTML file that opens offline and reads without JavaScript; the same as Markdown, LaTeX and CSV."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files as resources
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from nnunet_fess import files, machine
from nnunet_fess.errors import UserError
from nnunet_fess.study import curves, figures, overlays
from nnunet_fess.study.metrics import LENGTHS, LOWER_IS_BETTER
from nnunet_fess.study.results import LOG, Case, Run, folder_of
from nnunet_fess.study.statistics import (
    ALPHA,
    MEAN,
    POWER,
    Comparison,
    Rank,
    Setting,
    Summary,
    best,
    comparisons,
    ranks,
    summaries,
)

HTML, MARKDOWN, LATEX, STATISTICS, FIGURES = "report.html", "report.md", "report.tex", "statistics.csv", "figures"
# So many structures stand side by side in a LaTeX table; further ones get a table of their own.
_LATEX_COLUMNS = 6


@dataclass(frozen=True)
class Described:
    """What a report says of the study itself.

    Attributes:
        name: of the study.
        baseline: label of the trainer that the others are compared with.
        metrics: in the order of the tables; the first one is what the summary and most figures are about.
        nsd_tolerance_mm: for the heading of nsd.
        texts: file name → content, printed as they are: the study's file and its lock.
        patients: case → patient, where several cases are one patient's.
    """

    name: str
    baseline: str
    metrics: Sequence[str]
    nsd_tolerance_mm: float = 1.0
    texts: Mapping[str, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """One number of a table: its text, `best` or `alike` or nothing, and how many values behind it are not defined."""

    text: str
    mark: str = ""
    undefined: int = 0


@dataclass(frozen=True)
class Link:
    """A run as a table names it, and where on the page it is described."""

    label: str
    anchor: str


@dataclass(frozen=True)
class Row:
    """One trainer of the results table."""

    trainer: str
    cells: Sequence[Cell]
    runs: Sequence[Link] = ()
    baseline: bool = False


@dataclass(frozen=True)
class TextRow:
    """One trainer of another table."""

    trainer: str
    cells: Sequence[str]


@dataclass(frozen=True)
class Table:
    """A table with its heading; the first column is the trainer's."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row | TextRow]


def write_report(results: Path, described: Described, runs: Sequence[Run], cases: Sequence[Case]) -> Path:
    """Write `report.html`, `report.md`, `report.tex`, `statistics.csv` and `figures/` into the results folder.

    Args:
        results: the study's folder.
        described: the study.
        runs: all of them, failed ones too.
        cases: scores of the finished ones.

    Returns:
        path of the HTML file.

    Raises:
        UserError: there is no score yet.
    """
    if not cases:
        raise UserError(f"{results} has no score to report. See  nnunet_fess study status  for what its runs do.")
    finished = [run for run in runs if run.status == "finished"]
    summary = summaries(cases, described.metrics)
    against = comparisons(cases, described.metrics, described.baseline, patients=described.patients)
    places = ranks(cases, described.metrics)
    settings = list(dict.fromkeys(row.setting for row in summary))
    tables = list(_result_tables(described, settings, summary, cases, finished))
    drawn = _draw(results, described, settings, summary, finished, cases)
    page = {
        "title": described.name,
        "subtitle": _subtitle(runs, cases),
        "findings": _findings(described, settings, against),
        "how_to_read": _how_to_read(described),
        "about_tests": _about_tests(against),
        "about_ranks": "Mean over the cases of a trainer's rank in the case (1 is best; an undefined value is last), the place "
        "that this gives it, the place's 95 % interval over bootstrap samples of the cases, and the share of samples in which "
        "it is first.",
        "baseline": described.baseline,
        "tables": tables,
        "comparisons": list(_comparison_tables(described, settings, against)),
        "ranks": list(_rank_tables(described, settings, places)),
        "figures": [
            {"caption": caption, "data": base64.b64encode(path.read_bytes()).decode(), "path": f"{FIGURES}/{path.name}"}
            for path, caption in drawn
        ],
        "failed": [
            {"id": run.id, "anchor": _anchor(run.id), "status": run.status, "reason": run.reason or "not run to its end"}
            for run in runs
            if run.status != "finished"
        ],
        "runs": [_run_row(results, run) for run in runs],
        "machine": _machine(runs),
        "files": [{"title": name, "content": text} for name, text in described.texts.items()],
    }
    files.write_text(results / STATISTICS, statistics_csv(summary, against, places))
    files.write_text(results / MARKDOWN, markdown(page))
    files.write_text(results / LATEX, latex(page))
    template = resources("nnunet_fess.study").joinpath("templates/report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    files.write_text(results / HTML, environment.from_string(template).render(report=page))
    return results / HTML


# Tables


def _result_tables(
    described: Described,
    settings: Sequence[Setting],
    summary: Sequence[Summary],
    cases: Sequence[Case],
    finished: Sequence[Run],
) -> Iterator[Table]:
    found = {(row.setting, row.trainer, row.structure, row.metric): row for row in summary}
    trainers = list(dict.fromkeys(row.trainer for row in summary))
    for setting in settings:
        structures = _structures(summary, setting)
        here = [case for case in cases if Setting(case.dataset, case.size) == setting]
        for metric in described.metrics:
            marks = _marks(here, summary, setting, structures, metric, described.patients)
            rows = []
            for trainer in trainers:
                row = [found.get((setting, trainer, structure, metric)) for structure in structures]
                if not any(row):
                    continue
                cells = [
                    _cell(cell, marks.get((structure, trainer), "")) for structure, cell in zip(structures, row, strict=True)
                ]
                links = [
                    Link(_run_label(run), _anchor(run.id))
                    for run in finished
                    if run.trainer == trainer and Setting(run.dataset, run.size) == setting
                ]
                rows.append(Row(trainer, cells, links, trainer == described.baseline))
            name = figures.metric_name(metric) + (f" at {described.nsd_tolerance_mm:g} mm" if metric == "nsd" else "")
            yield Table(f"{name}, {_setting_name(setting, settings)}", structures, rows)


def _structures(summary: Sequence[Summary], setting: Setting) -> list[str]:
    names = list(dict.fromkeys(row.structure for row in summary if row.setting == setting))
    return names if len(names) > 2 else [name for name in names if name != MEAN]  # of one structure the mean is itself


def _marks(
    cases: Sequence[Case],
    summary: Sequence[Summary],
    setting: Setting,
    structures: Sequence[str],
    metric: str,
    patients: Mapping[str, str],
) -> dict[tuple[str, str], str]:
    """Which trainer is best in a structure, and which ones the cases do not tell apart from it."""
    marks = {}
    leaders: dict[str, list[str]] = {}
    for structure in structures:
        leader = best(summary, setting, structure, metric)
        if leader is not None:
            marks[structure, leader] = "best"
            leaders.setdefault(leader, []).append(structure)
    for leader, led in leaders.items():
        for row in comparisons(cases, [metric], leader, patients=patients, structures=led):
            if not row.told_apart and row.cases:
                marks[row.structure, row.trainer] = "alike"
    return marks


def _cell(row: Summary | None, mark: str) -> Cell:
    if row is None or math.isnan(row.mean):
        return Cell("–", "", row.undefined if row else 0)
    digits = 2 if row.metric in LENGTHS or row.metric == "lesion_fp" else 3
    spread = f" ± {row.sd:.{digits}f}" if math.isfinite(row.sd) else ""
    return Cell(f"{row.mean:.{digits}f}{spread}", mark, row.undefined)


def _comparison_tables(described: Described, settings: Sequence[Setting], against: Sequence[Comparison]) -> Iterator[Table]:
    columns = [
        "structure",
        "difference",
        "95 % interval",
        "cases",
        "p",
        "rank-biserial",
        "d_z",
        "runs",
        "p over runs",
        "in words",
    ]
    for setting in settings:
        for metric in described.metrics:
            rows = []
            structures = dict.fromkeys(row.structure for row in against if row.setting == setting)
            shown = [MEAN] if len(structures) > 2 else [name for name in structures if name != MEAN]
            for row in against:
                if row.setting == setting and row.metric == metric and row.structure in shown:
                    digits = 2 if metric in LENGTHS else 4
                    rows.append(
                        TextRow(
                            row.trainer,
                            [
                                row.structure,
                                _number(row.difference, digits, sign=True),
                                f"{_number(row.low, digits, sign=True)} to {_number(row.high, digits, sign=True)}",
                                str(row.cases) + (f" ({row.left_out} pairs undefined)" if row.left_out else ""),
                                _p(row.p_cases_holm),
                                _number(row.rank_biserial, 2, sign=True),
                                _number(row.d_z, 2, sign=True),
                                str(row.runs),
                                _p(row.p_runs_holm),
                                row.in_words,
                            ],
                        )
                    )
            if rows:
                yield Table(f"{figures.metric_name(metric)}, {_setting_name(setting, settings)}", columns, rows)


def _rank_tables(described: Described, settings: Sequence[Setting], places: Sequence[Rank]) -> Iterator[Table]:
    for setting in settings:
        for metric in described.metrics[:1]:
            here = [row for row in places if row.setting == setting and row.metric == metric]
            structure = MEAN if len({row.structure for row in here}) > 2 else next((row.structure for row in here), MEAN)
            rows = [
                TextRow(
                    row.trainer, [f"{row.place:g}", f"{row.mean_rank:.2f}", f"{row.low:g} to {row.high:g}", f"{row.first:.0%}"]
                )
                for row in sorted(here, key=lambda row: row.mean_rank)
                if row.structure == structure
            ]
            if len(rows) > 1:
                title = f"{figures.metric_name(metric)}, {structure}, {_setting_name(setting, settings)}"
                yield Table(title, ["place", "mean rank", "95 % of the place", "first in"], rows)


def _setting_name(setting: Setting, settings: Sequence[Setting]) -> str:
    size = "all training cases" if setting.size == "all" else f"{setting.size} training cases"
    return f"{setting.dataset}, {size}" if len({other.dataset for other in settings}) > 1 else size


# Words


def _subtitle(runs: Sequence[Run], cases: Sequence[Case]) -> str:
    seeds = {run.seed for run in runs if run.seed is not None}
    finished = sum(run.status == "finished" for run in runs)
    return (
        f"{', '.join(dict.fromkeys(run.dataset for run in runs))}. {finished} of {len(runs)} runs are finished, "
        f"{len(dict.fromkeys(run.trainer for run in runs))} trainers, {max(1, len(seeds))} seeds, "
        f"{len({(run.fold, run.repeat) for run in runs})} folds or draws, "
        f"{len({(case.dataset, case.case) for case in cases})} test cases."
    )


def _findings(described: Described, settings: Sequence[Setting], against: Sequence[Comparison]) -> list[str]:
    """The first metric's mean over structures, trainer by trainer."""
    metric = described.metrics[0]
    digits = 2 if metric in LENGTHS else 4
    lines = []
    for row in against:
        structures = {other.structure for other in against if other.setting == row.setting}
        if row.metric == metric and (row.structure == MEAN or len(structures) == 1):
            lines.append(
                f"{row.trainer} against {row.baseline}, {_setting_name(row.setting, settings)}, {figures.metric_name(metric)}: "
                f"{_number(row.difference, digits, sign=True)} ({_number(row.low, digits, sign=True)} to "
                f"{_number(row.high, digits, sign=True)}), {row.in_words}."
            )
    return lines or [f"Nothing to compare: {described.baseline} has no finished run beside another trainer's."]


def _how_to_read(described: Described) -> str:
    lower = [figures.metric_name(metric) for metric in described.metrics if metric in LOWER_IS_BETTER]
    return (
        "Mean ± standard deviation over the runs (seeds, folds, draws), each the mean over its test cases; “mean” is the mean "
        "of the structures' means, as nnU-Net's. Bold and underlined: the best; ≈ and italic: the cases do not tell it apart "
        f"from the best (Wilcoxon's signed-rank test after Holm, p ≥ {ALPHA}), which does not say that it is as good. "
        + (f"Less is better for {', '.join(lower)}. " if lower else "")
        + "A value that is not defined, such as a distance to a structure that was not found, is counted and not averaged."
    )


def _about_tests(against: Sequence[Comparison]) -> str:
    few = [row for row in against if row.cases < 6]
    runs = {row.runs for row in against}
    text = (
        "Differences are the trainer's minus the baseline's, on the cases that both have. The interval is from 2000 bootstrap "
        "samples that draw cases and runs. p: Wilcoxon's signed-rank test over cases, whose differences are averaged over runs "
        "first; p over runs: paired t test of the runs' means. Both after Holm over all trainers and training sizes of a "
        "metric and structure. Effect sizes: matched-pairs rank-biserial correlation, and Cohen's d_z. What “would not have "
        f"been seen” is what such a study finds with a probability of less than {POWER:.0%}."
    )
    if max(runs, default=0) < 2:
        text += " There is one run per trainer: nothing here says what another training would give."
    elif max(runs, default=0) < 5:
        text += f" There are {_listed(runs)} paired runs, few: the test over runs finds large differences only."
    if few:
        text += " With fewer than six cases Wilcoxon's p cannot fall below 0.05, whatever the difference."
    return text


def _listed(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _machine(runs: Sequence[Run]) -> str:
    hosts = ", ".join(sorted({run.host for run in runs if run.host}))
    versions = {f"{name} {version}" for run in runs for name, version in run.versions.items()}
    here = f"Report made with {', '.join(f'{n} {v}' for n, v in machine.versions(['nnunet-fess']).items())}."
    return (f"Runs on {hosts}. " if hosts else "") + (f"{', '.join(sorted(versions))}. " if versions else "") + here


def _number(value: float, digits: int, sign: bool = False) -> str:
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _p(value: float) -> str:
    return "–" if not math.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


# Runs


def _run_label(run: Run) -> str:
    parts = [f"s{run.seed}" if run.seed is not None else "", f"f{run.fold}", f"d{run.repeat}" if run.repeat else ""]
    return "/".join(part for part in parts if part)


def _anchor(run_id: str) -> str:
    return "run-" + re.sub(r"[^A-Za-z0-9_.-]", lambda match: f"_{ord(match[0]):x}", run_id)


def _run_row(results: Path, run: Run) -> dict[str, str]:
    folder = urllib.parse.quote(folder_of(results, run.id).relative_to(results).as_posix())
    return {
        "id": run.id,
        "anchor": _anchor(run.id),
        "trainer_name": run.trainer_name,
        "seed": "–" if run.seed is None else str(run.seed),
        "fold": str(run.fold) + (f", draw {run.repeat}" if run.repeat else ""),
        "training_cases": str(run.training_cases),
        "status": run.status,
        "minutes": f"{run.seconds / 60:.1f}",
        "memory": "–" if run.peak_memory_mb is None else f"{run.peak_memory_mb:.0f}",
        "folder": f"{folder}/",
        "log": f"{folder}/{LOG}",
    }


# Figures


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


def _draw(
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
        here = [case for case in cases if Setting(case.dataset, case.size) == setting]
        runs = [run for run in finished if Setting(run.dataset, run.size) == setting]
        structures = [structure for structure in _structures(summary, setting) if structure != MEAN]
        _draw_setting(album, described, setting, _setting_name(setting, settings), structures, runs, here)
    for dataset in dict.fromkeys(setting.dataset for setting in settings):
        rows = [row for row in summary if row.setting.dataset == dataset]
        _draw_dataset(album, described, dataset, rows, [run for run in finished if run.dataset == dataset])
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
    file = f"{setting.dataset}_{setting.size}"
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
    structure = _structures(summary, summary[0].setting)[-1]
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
        raw = run.dataset_json.parent
        channels = channels or overlays.channels_of(
            case, [run.truth.with_name(run.truth.name.replace("labels", "images")), raw / "imagesTr", raw / "imagesTs"], ending
        )
        values = [row.values.get(metric, math.nan) for row in cases if row.run == run.id and row.case == case]
        values = [value for value in values if math.isfinite(value)]
        notes[run.trainer] = f"{figures.metric_name(metric)} " + (f"{sum(values) / len(values):.3f}" if values else "undefined")
    if truth is None:
        return None
    try:
        return overlays.overlay_figure(case, channels, truth, predictions, notes)
    except UserError:  # a file that was moved since must not cost the whole report
        return None


# Other formats


def statistics_csv(summary: Sequence[Summary], against: Sequence[Comparison], places: Sequence[Rank]) -> str:
    """A row per dataset, size, trainer, structure and metric: its summary, its comparison with the baseline, its rank."""
    compared = {(row.setting, row.trainer, row.structure, row.metric): row for row in against}
    ranked = {(row.setting, row.trainer, row.structure, row.metric): row for row in places}
    of_summary = ("mean", "sd", "sem", "low", "high", "runs", "cases", "undefined")
    of_comparison = (
        *(
            "baseline",
            "difference",
            "low",
            "high",
            "cases",
            "p_cases",
            "p_cases_holm",
            "rank_biserial",
            "d_z",
            "runs",
            "p_runs",
        ),
        *("p_runs_holm", "detectable", "left_out", "in_words"),
    )
    of_rank = ("place", "mean_rank", "low", "high", "first")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"difference_{name}" if name in of_summary else name for name in of_comparison]
    writer.writerow(
        ["dataset", "size", "trainer", "structure", "metric", *of_summary, *names, *(f"rank_{name}" for name in of_rank)]
    )
    for row in summary:
        key = (row.setting, row.trainer, row.structure, row.metric)
        line: list[object] = [*row.setting, row.trainer, row.structure, row.metric]
        for source, attributes in ((row, of_summary), (compared.get(key), of_comparison), (ranked.get(key), of_rank)):
            line += ["" if source is None else _plain(getattr(source, name)) for name in attributes]
        writer.writerow(line)
    return text.getvalue()


def _plain(value: object) -> object:
    return "" if isinstance(value, float) and not math.isfinite(value) else repr(value) if isinstance(value, float) else value


def markdown(page: Mapping[str, object]) -> str:
    """The report as Markdown; figures by their files."""
    lines = [f"# {page['title']}", "", str(page["subtitle"]), ""]
    lines += [f"- {line}" for line in page["findings"]]  # type: ignore[attr-defined]
    lines += ["", "## Results", "", str(page["how_to_read"]), ""]
    for table in page["tables"]:  # type: ignore[attr-defined]
        rows = [[row.trainer, *(_marked(cell, "**", "*") for cell in row.cells), str(len(row.runs))] for row in table.rows]
        lines += [f"### {table.title}", "", *_markdown_table(["trainer", *table.columns, "runs"], rows), ""]
    for heading, about, tables in (
        ("Against " + str(page["baseline"]), "about_tests", "comparisons"),
        ("Ranks", "about_ranks", "ranks"),
    ):
        if page[tables]:
            lines += [f"## {heading}", "", str(page[about]), ""]
            for table in page[tables]:  # type: ignore[attr-defined]
                rows = [[row.trainer, *row.cells] for row in table.rows]
                lines += [f"### {table.title}", "", *_markdown_table(["trainer", *table.columns], rows), ""]
    if page["figures"]:
        lines += ["## Figures", ""]
        for figure in page["figures"]:  # type: ignore[attr-defined]
            lines += [f"![{figure['caption']}]({figure['path']})", ""]
    if page["failed"]:
        lines += ["## Runs without a result", ""]
        lines += [f"- {run['id']}: {run['status']}. {run['reason']}" for run in page["failed"]]  # type: ignore[attr-defined]
        lines.append("")
    return "\n".join([*lines, str(page["machine"]), ""])


def _marked(cell: Cell, strong: str, weak: str) -> str:
    around = {"best": strong, "alike": weak}.get(cell.mark, "")
    text = f"{around}{cell.text}{around}" + (" ≈" if cell.mark == "alike" else "")
    return text + (f" [{cell.undefined} undefined]" if cell.undefined else "")


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines]


def latex(page: Mapping[str, object]) -> str:
    """The results tables as LaTeX, for booktabs; wide ones are split by structure."""
    lines = ["% \\usepackage{booktabs}. Bold: best; asterisk: not told apart from the best (Wilcoxon, Holm)."]
    for table in page["tables"]:  # type: ignore[attr-defined]
        for start in range(0, len(table.columns), _LATEX_COLUMNS):
            columns = table.columns[start : start + _LATEX_COLUMNS]
            lines += [
                "\\begin{table}",
                f"\\caption{{{tex(table.title)}}}",
                f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
                "\\toprule",
                " & ".join(["Trainer", *map(tex, columns)]) + " \\\\",
                "\\midrule",
            ]
            for row in table.rows:
                cells = [_latex_cell(cell) for cell in row.cells[start : start + _LATEX_COLUMNS]]
                lines.append(" & ".join([tex(row.trainer), *cells]) + " \\\\")
            lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}", ""]
    return "\n".join(lines)


def _latex_cell(cell: Cell) -> str:
    text = tex(cell.text)
    if cell.mark == "best":
        text = f"\\textbf{{{text}}}"
    elif cell.mark == "alike":
        text += "$^{*}$"
    return text + (f" [{cell.undefined}]" if cell.undefined else "")


_TEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "±": "$\\pm$",
    "−": "$-$",
    "–": "--",
    "≈": "$\\approx$",
    "≥": "$\\geq$",
}


def tex(text: str) -> str:
    """Text with what LaTeX would take for commands written out."""
    return "".join(_TEX.get(letter, letter) for letter in str(text))
