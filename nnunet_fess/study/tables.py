"""The tables of a report: which numbers stand where, and which of them are marked; and the words that go with a setting."""

from __future__ import annotations

import math
import re
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_fess.study import figures
from nnunet_fess.study.metrics import LENGTHS
from nnunet_fess.study.results import LOG, Case, Run, folder_of
from nnunet_fess.study.statistics import MEAN, Comparison, Rank, Setting, Summary, best, comparisons


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
        control: label of what ensembles are compared with, besides the baseline: as many seeds of it; None without ensembles.
    """

    name: str
    baseline: str
    metrics: Sequence[str]
    nsd_tolerance_mm: float = 1.0
    texts: Mapping[str, str] = field(default_factory=dict)
    patients: Mapping[str, str] = field(default_factory=dict)
    control: str | None = None

    def name_of(self, metric: str) -> str:
        """A metric as a heading says it, with what it depends on."""
        return figures.metric_name(metric) + (f" at {self.nsd_tolerance_mm:g} mm" if metric == "nsd" else "")


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


def result_tables(
    described: Described,
    settings: Sequence[Setting],
    summary: Sequence[Summary],
    cases: Sequence[Case],
    finished: Sequence[Run],
) -> Iterator[Table]:
    """A table per setting and metric: trainers by structures, with the runs behind each line."""
    found = {(row.setting, row.trainer, row.structure, row.metric): row for row in summary}
    trainers = list(dict.fromkeys(row.trainer for row in summary))
    for setting in settings:
        structures = structures_of(summary, setting)
        here = [case for case in cases if Setting.of(case) == setting]
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
                of_trainer = [run for run in finished if run.trainer == trainer and Setting.of(run) == setting]
                rows.append(Row(trainer, cells, _links(of_trainer), trainer == described.baseline))
            yield Table(f"{described.name_of(metric)}, {setting_name(setting, settings)}", structures, rows)


def plans_tables(
    described: Described, settings: Sequence[Setting], summary: Sequence[Summary], finished: Sequence[Run]
) -> Iterator[Table]:
    """A table per dataset, size and metric with several plans: trainers by plans, in the mean over structures."""
    found = {(row.setting, row.trainer, row.structure, row.metric): row for row in summary}
    for name, columns in by_plans(settings):
        structure = structures_of(summary, columns[0])[-1]
        for metric in described.metrics:
            leaders = [best(summary, setting, structure, metric) for setting in columns]
            rows = []
            for trainer in dict.fromkeys(row.trainer for row in summary if row.setting in columns):
                cells = [
                    _cell(found.get((setting, trainer, structure, metric)), "best" if trainer == leader else "")
                    for setting, leader in zip(columns, leaders, strict=True)
                ]
                here = [run for run in finished if run.trainer == trainer and Setting.of(run) in columns]
                rows.append(Row(trainer, cells, _links(here), trainer == described.baseline))
            yield Table(f"{described.name_of(metric)}, {structure}, by plans, {name}", [s.plans for s in columns], rows)


def by_plans(settings: Sequence[Setting]) -> list[tuple[str, list[Setting]]]:
    """Those that differ in their plans alone, with what a heading calls them; none where there is one."""
    found: dict[Setting, list[Setting]] = {}
    for setting in settings:
        found.setdefault(setting._replace(plans=""), []).append(setting)
    return [(setting_name(common, list(found)), columns) for common, columns in found.items() if len(columns) > 1]


def structures_of(summary: Sequence[Summary], setting: Setting) -> list[str]:
    """Its structures in order, and the mean over them if there are several."""
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


def comparison_tables(described: Described, settings: Sequence[Setting], against: Sequence[Comparison]) -> Iterator[Table]:
    """A table per setting and metric: every trainer against the baseline, in the mean over structures."""
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
                                number_text(row.difference, digits, sign=True),
                                f"{number_text(row.low, digits, sign=True)} to {number_text(row.high, digits, sign=True)}",
                                str(row.cases) + (f" ({row.left_out} pairs undefined)" if row.left_out else ""),
                                p_text(row.p_cases_holm),
                                number_text(row.rank_biserial, 2, sign=True),
                                number_text(row.d_z, 2, sign=True),
                                str(row.runs),
                                p_text(row.p_runs_holm),
                                row.in_words,
                            ],
                        )
                    )
            if rows:
                yield Table(f"{described.name_of(metric)}, {setting_name(setting, settings)}", columns, rows)


def rank_tables(described: Described, settings: Sequence[Setting], places: Sequence[Rank]) -> Iterator[Table]:
    """A table per setting: places by the first metric."""
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
                title = f"{described.name_of(metric)}, {structure}, {setting_name(setting, settings)}"
                yield Table(title, ["place", "mean rank", "95 % of the place", "first in"], rows)


def setting_name(setting: Setting, settings: Sequence[Setting]) -> str:
    """What a heading calls a setting; dataset and plans only where there are several."""
    parts = [setting.dataset] if len({other.dataset for other in settings}) > 1 else []
    parts += [setting.plans] if len({other.plans for other in settings}) > 1 else []
    return ", ".join([*parts, "all training cases" if setting.size == "all" else f"{setting.size} training cases"])


def _links(runs: Sequence[Run]) -> list[Link]:
    return [Link(run_label(run), anchor(run.id)) for run in runs]


def run_label(run: Run) -> str:
    """A run in a table's last column: seed, fold, draw."""
    parts = [f"s{run.seed}" if run.seed is not None else "", f"f{run.fold}", f"d{run.repeat}" if run.repeat else ""]
    return "/".join(part for part in parts if part)


def anchor(run_id: str) -> str:
    """Where on the page a run is described; letters that links may hold."""
    return "run-" + re.sub(r"[^A-Za-z0-9_.-]", lambda match: f"_{ord(match[0]):x}", run_id)


def run_row(results: Path, run: Run) -> dict[str, str]:
    """A run as the list at the end of the page shows it; paths relative to the results."""
    folder = urllib.parse.quote(folder_of(results, run.id).relative_to(results).as_posix())
    return {
        "id": run.id,
        "anchor": anchor(run.id),
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


def number_text(value: float, digits: int, sign: bool = False) -> str:
    """A number as a table shows it; a dash for what is not defined."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def p_text(value: float) -> str:
    """A p value as a table shows it."""
    return "–" if not math.isfinite(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"
