"""A study's report: one HTML file that opens offline and reads without JavaScript; the same as Markdown, LaTeX and CSV."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files as resources
from pathlib import Path

import jinja2

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study import album, formats, tables, words
from nnunet_fess.study.results import Case, Run
from nnunet_fess.study.statistics import comparisons, ranks, summaries
from nnunet_fess.study.tables import Described

HTML, MARKDOWN, LATEX, STATISTICS = "report.html", "report.md", "report.tex", "statistics.csv"


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
    summary = summaries(cases, described.metrics, patients=described.patients)
    against = comparisons(cases, described.metrics, described.baseline, patients=described.patients)
    averaged = [case for case in cases if described.control is not None and "ensemble: " in case.trainer]
    control = replace(described, baseline=described.control or "")
    against_control = comparisons(averaged, described.metrics, control.baseline, patients=described.patients)
    places = ranks(cases, described.metrics, patients=described.patients)
    settings = list(dict.fromkeys(row.setting for row in summary))
    results_tables = [
        *tables.plans_tables(described, settings, summary, finished),
        *tables.result_tables(described, settings, summary, cases, finished),
    ]
    drawn = album.draw(results, described, settings, summary, finished, cases)
    page = {
        "title": described.name,
        "subtitle": words.subtitle(runs, cases, described.patients),
        "findings": [
            *words.findings(described, settings, against),
            *(words.findings(control, settings, against_control) if against_control else []),
        ],
        "how_to_read": words.how_to_read(described),
        "about_tests": words.about_tests(against),
        "about_ranks": words.ABOUT_RANKS,
        "baseline": described.baseline,
        "tables": results_tables,
        "comparisons": [
            *tables.comparison_tables(described, settings, against),
            *(
                replace(table, title=f"Ensembles against {described.control}: {table.title}")
                for table in tables.comparison_tables(control, settings, against_control)
            ),
        ],
        "ranks": list(tables.rank_tables(described, settings, places)),
        "figures": [
            {"caption": caption, "data": base64.b64encode(path.read_bytes()).decode(), "path": f"{album.FIGURES}/{path.name}"}
            for path, caption in drawn
        ],
        "failed": [
            {"id": run.id, "anchor": tables.anchor(run.id), "status": run.status, "reason": run.reason or "not run to its end"}
            for run in runs
            if run.status != "finished"
        ],
        "runs": [tables.run_row(results, run) for run in runs],
        "machine": words.made_on(runs),
        "files": [{"title": name, "content": text} for name, text in described.texts.items()],
    }
    files.write_text(results / STATISTICS, formats.statistics_csv(summary, against, places))
    files.write_text(results / MARKDOWN, formats.markdown(page))
    files.write_text(results / LATEX, formats.latex(page))
    template = resources("nnunet_fess.study").joinpath("templates/report.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    files.write_text(results / HTML, environment.from_string(template).render(report=page))
    return results / HTML
