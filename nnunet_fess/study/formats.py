"""A report for other programs: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence

from nnunet_fess.study.statistics import Comparison, Rank, Setting, Summary
from nnunet_fess.study.tables import Cell

# So many structures stand side by side in a LaTeX table; further ones get a table of their own.
_COLUMNS = 6


def statistics_csv(summary: Sequence[Summary], against: Sequence[Comparison], places: Sequence[Rank]) -> str:
    """A row per setting, trainer, structure and metric: its summary, its comparison with the baseline, its rank."""
    compared = {(row.setting, row.trainer, row.structure, row.metric): row for row in against}
    ranked = {(row.setting, row.trainer, row.structure, row.metric): row for row in places}
    of_summary = ("mean", "sd", "sem", "low", "high", "runs", "cases", "undefined")
    of_comparison = (
        *("baseline", "difference", "low", "high", "cases", "p_cases", "p_cases_holm", "rank_biserial", "d_z"),
        *("runs", "sd_runs", "p_runs", "p_runs_holm", "detectable", "left_out", "in_words"),
    )
    of_rank = ("place", "mean_rank", "low", "high", "first")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [f"difference_{name}" if name in of_summary else name for name in of_comparison]
    writer.writerow(
        [*Setting._fields, "trainer", "structure", "metric", *of_summary, *names, *(f"rank_{name}" for name in of_rank)]
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
    lines = [f"# {plain(page['title'])}", "", plain(page["subtitle"]), ""]
    lines += [f"- {plain(line)}" for line in page["findings"]]  # type: ignore[attr-defined]
    lines += ["", "## Results", "", plain(page["how_to_read"]), ""]
    for table in page["tables"]:  # type: ignore[attr-defined]
        rows = [
            [plain(row.trainer), *(_marked(cell, "**", "*") for cell in row.cells), str(len(row.runs))] for row in table.rows
        ]
        lines += [f"### {plain(table.title)}", "", *_markdown_table(["trainer", *map(plain, table.columns), "runs"], rows), ""]
    for heading, about, tables in (
        ("Against " + str(page["baseline"]), "about_tests", "comparisons"),
        ("Ranks", "about_ranks", "ranks"),
    ):
        if page[tables]:
            lines += [f"## {plain(heading)}", "", plain(page[about]), ""]
            for table in page[tables]:  # type: ignore[attr-defined]
                rows = [[*map(plain, (row.trainer, *row.cells))] for row in table.rows]
                lines += [f"### {plain(table.title)}", "", *_markdown_table(["trainer", *map(plain, table.columns)], rows), ""]
    if page["figures"]:
        lines += ["## Figures", ""]
        for figure in page["figures"]:  # type: ignore[attr-defined]
            lines += [f"![{plain(figure['caption'])}]({figure['path']})", ""]
    if page["failed"]:
        lines += ["## Runs without a result", ""]
        lines += [
            plain(f"- {run['id']}: {run['status']}. {run['reason']}")
            for run in page["failed"]  # type: ignore[attr-defined]
        ]
        lines.append("")
    return "\n".join([*lines, plain(page["machine"]), ""])


def plain(text: object) -> str:
    """Text of which Markdown makes nothing else: no tags, formulas, links, emphasis. `_` within a word is none."""
    text = re.sub(r"[\\`*$<>\[\]|]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", str(text))
    return text.replace("\n", " ")


def _marked(cell: Cell, strong: str, weak: str) -> str:
    around = {"best": strong, "alike": weak}.get(cell.mark, "")
    text = f"{around}{cell.text}{around}" + (" ≈" if cell.mark == "alike" else "")
    return text + (f" [{cell.undefined} undefined]" if cell.undefined else "")


def _markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]


def latex(page: Mapping[str, object]) -> str:
    """The results tables as LaTeX, for booktabs; wide ones are split by structure."""
    lines = [
        "% \\usepackage{booktabs}. Bold: best; asterisk: not told apart from the best (Wilcoxon, Holm);",
        "% in brackets: how many values are not defined. Letters beyond Latin need XeLaTeX and a font that has them.",
    ]
    for table in page["tables"]:  # type: ignore[attr-defined]
        for start in range(0, len(table.columns), _COLUMNS):
            columns = table.columns[start : start + _COLUMNS]
            lines += [
                "\\begin{table}",
                f"\\caption{{{tex(table.title)}}}",
                f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
                "\\toprule",
                " & ".join(["Trainer", *map(tex, columns)]) + " \\\\",
                "\\midrule",
            ]
            for row in table.rows:
                cells = [_latex_cell(cell) for cell in row.cells[start : start + _COLUMNS]]
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
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    "\n": " ",
}


def tex(text: str) -> str:
    """Text with what LaTeX would take for commands written out."""
    return "".join(_TEX.get(letter, letter) for letter in str(text))
