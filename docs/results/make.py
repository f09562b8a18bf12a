"""The tables of the pages in this folder, made again from what lies beside them.

    python docs/results/make.py                 # writes the tables into the pages, between their marks
    python docs/results/make.py take NAME       # first copies what the study NAME.yaml says, once it is run and reported

A study is NAME.yaml; what it has measured is NAME.statistics.csv (that of `nnunet_fess study report`), NAME.runs.csv and
NAME.made.json (machine and versions). Models and predictions stay where the study was run. NAME.earlier.json holds runs that a
script made before there were studies; they are shown, and said to be that, until the study has been run.
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study.config import load
from nnunet_fess.study.lock import LOCK
from nnunet_fess.study.report import STATISTICS
from nnunet_fess.study.results import read_runs

HERE = Path(__file__).resolve().parent
_BLOCK = re.compile(r"<!-- table: (?P<name>[\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
_SHOWN = {"dice": ("Dice", 3), "hd95": ("HD95", 2)}  # metric → its name, digits
_MEAN = "mean"


class Row(NamedTuple):
    """A trainer's score over those of its runs in which it is defined; `against` the baseline, in words.

    `undefined` values are cases of the runs in which the structure was not found.
    """

    size: str
    trainer: str
    structure: str
    metric: str
    mean: float | None
    sd: float | None
    defined: int
    runs: int
    against: str = ""
    undefined: int = 0


def main() -> int:
    """Take what was asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", nargs="?", choices=["take"])
    parser.add_argument("name", nargs="?", metavar="NAME", help="a study beside this script, without .yaml")
    chosen = parser.parse_args()
    if chosen.verb:
        if not chosen.name:
            parser.error("take NAME: which study?")
        take(chosen.name)
    for path in pages():
        text = path.read_text("utf-8")
        if (made := page(text)) != text:
            files.write_text(path, made)
            print(f"wrote {path}")
    return 0


def pages() -> list[Path]:
    """Those that have tables."""
    return [path for path in sorted(HERE.glob("*.md")) if _BLOCK.search(path.read_text("utf-8"))]


def take(name: str) -> None:
    """Copy a study's statistics, and of its runs what is worth keeping."""
    file = load(HERE / f"{name}.yaml")
    runs = read_runs(file.results)
    if not (file.results / STATISTICS).is_file():
        raise UserError(f"{file.results / STATISTICS} does not exist. nnunet_fess study report {file.path}  writes it.")
    measured = (file.results / STATISTICS).read_text("utf-8")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "status", "training_cases", "minutes", "peak_memory_mb", "started"])
    for run in runs:
        started = run.steps[0].started if run.steps else ""
        row = [run.id, run.status, run.training_cases, round(run.seconds / 60, 1), run.peak_memory_mb, started]
        writer.writerow(row)
    lock = YAML(typ="safe").load((file.results / LOCK).read_text("utf-8"))
    made = {"machine": lock["machine"]["processor"], "cores": lock["machine"]["cores"]}
    # all is read by now: what fails leaves the earlier study's three files as they were
    files.write_text(HERE / f"{name}.statistics.csv", measured)
    files.write_text(HERE / f"{name}.runs.csv", text.getvalue())
    files.write_json(HERE / f"{name}.made.json", {**made, "commit": lock["commit"], "versions": lock["versions"]})


def page(text: str) -> str:
    """The page with every table made again."""
    return _BLOCK.sub(lambda found: f"<!-- table: {found['name']} -->\n{block(found['name'])}\n<!-- end -->", text)


def block(name: str, folder: Path = HERE) -> str:
    """One study's table, and where its numbers are from."""
    study = f"[`{name}.yaml`]({name}.yaml)"
    if (folder / f"{name}.statistics.csv").is_file():
        rows = list(of_study(folder / f"{name}.statistics.csv"))
        made = files.read_json(folder / f"{name}.made.json")
        versions = ", ".join(f"{package} {version}" for package, version in made["versions"].items())
        source = (
            f"The study {study}, by commit {_short(made['commit'])} on {made['cores']} cores ({made['machine']}; {versions})"
        )
        data = f"[statistics.csv]({name}.statistics.csv), [runs.csv]({name}.runs.csv)"
    elif not (folder / f"{name}.earlier.json").is_file():
        return f"The study {study} has not been run yet."
    else:
        rows = list(of_earlier(folder / f"{name}.earlier.json"))
        earlier = files.read_json(folder / f"{name}.earlier.json")
        commits = ", ".join(dict.fromkeys(map(_short, earlier["commit"].values())))
        source = (
            f"**Made before there were studies**, by a script that is gone, at commit {commits} on {earlier['cores']} cores "
            f"({earlier['machine']}); {study} is the same comparison as a study and has not been run yet"
        )
        data = f"[every run]({name}.earlier.json)"
    return f"{table(rows)}\n\n{source} ({data})."


def _short(commit: str) -> str:
    """Seven digits, and whether there were changes beyond it."""
    return commit[:7] + commit[commit.find("-") :] * ("-" in commit)


def of_study(path: Path) -> Iterator[Row]:
    """What a study's statistics say of the metrics that are shown."""
    with path.open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["metric"] in _SHOWN]
    most: dict[tuple[str, str], int] = {}
    for row in found:
        key = (row["size"], row["trainer"])
        most[key] = max(most.get(key, 0), int(row["runs"]))
    for row in found:
        against = ""
        if row["structure"] == _MEAN and row["metric"] == "dice" and row["baseline"]:
            against = f"{float(row['difference']):+.3f}, {row['in_words']}" if row["difference"] else row["in_words"]
        mean, sd = (float(row[name]) if row[name] else None for name in ("mean", "sd"))
        runs = most[row["size"], row["trainer"]]
        key = (row["size"], row["trainer"], row["structure"], row["metric"])
        yield Row(*key, mean, sd, int(row["runs"]), runs, against, int(row["undefined"]))


def of_earlier(path: Path) -> Iterator[Row]:
    """The same of runs as the earlier script recorded them: means over the cases by structure, HD95 null if undefined."""
    for size, runs in files.read_json(path)["runs"].items():
        for trainer in dict.fromkeys(run.split()[0] for run in runs):
            mine = [found for run, found in runs.items() if run.split()[0] == trainer]
            for metric in _SHOWN:
                for structure in (*mine[0][metric], _MEAN):
                    values = [_value(run[metric], structure) for run in mine]
                    defined = [value for value in values if value is not None]
                    mean = statistics.fmean(defined) if defined else None
                    sd = statistics.stdev(defined) if len(defined) > 1 else None
                    yield Row(size, trainer, structure, metric, mean, sd, len(defined), len(mine))


def _value(run: dict[str, float | None], structure: str) -> float | None:
    if structure != _MEAN:
        return run[structure]
    values = [value for value in run.values() if value is not None]
    return statistics.fmean(values) if len(values) == len(run) else None


def table(rows: Sequence[Row]) -> str:
    """Markdown: of one training size a column per structure, of several a column per size, a row per trainer."""
    sizes = list(dict.fromkeys(row.size for row in rows))
    structures = [name for name in dict.fromkeys(row.structure for row in rows) if name != _MEAN]
    found = {(row.size, row.trainer, row.structure, row.metric): row for row in rows}
    shown = [(sizes[0], structure) for structure in (*structures, *[_MEAN] * (len(structures) > 1))]
    if len(sizes) > 1:
        shown = [(size, _MEAN if len(structures) > 1 else structures[0]) for size in sizes]
    metrics = [metric for metric in _SHOWN if any(row.metric == metric for row in rows)]
    compared = [size for size in sizes if any(row.against for row in rows if row.size == size)]
    columns = ["trainer", "runs"] if len(sizes) == 1 else ["trainer"]
    for metric in metrics:
        columns += [f"{_cases(size) if len(sizes) > 1 else ''}{structure} {_SHOWN[metric][0]}" for size, structure in shown]
    columns += [f"{_cases(size) if len(sizes) > 1 else ''}mean Dice against the baseline" for size in compared]
    lines = [columns, ["---"] * len(columns)]
    for trainer in dict.fromkeys(row.trainer for row in rows):
        line = [f"`{trainer}`"]
        if len(sizes) == 1:
            line.append(str(max(row.runs for row in rows if row.trainer == trainer)))
        for metric in metrics:
            line += [_cell(found.get((size, trainer, structure, metric)), len(sizes) > 1) for size, structure in shown]
        for size in compared:
            said = (row.against for row in rows if (row.size, row.trainer) == (size, trainer) and row.against)
            line.append(next(said, ""))
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cases(size: str) -> str:
    return "all cases: " if size == "all" else f"{size} cases: "


def _cell(row: Row | None, say_runs: bool) -> str:
    if row is None or row.mean is None:
        return "–"
    digits = _SHOWN[row.metric][1]
    spread = f" ± {row.sd:.{digits}f}" if row.sd is not None else ""
    lacking = f" ({row.defined} of {row.runs})" if row.defined < row.runs else f" ({row.runs} runs)" if say_runs else ""
    lacking += f" [{row.undefined} undefined]" if row.undefined else ""
    return f"{row.mean:.{digits}f}{spread}{lacking}"


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(str(error)) from None
