"""Writes docs/explanation/matrix.md, and runs what it tells.

    PYTHONPATH=tests python tests/matrix/page.py --minutes 120          # goes on where the last run ended
    PYTHONPATH=tests python tests/matrix/page.py --minutes 0            # the page only

Cells that ran are not run again unless told `--again`; the chosen ones, which hold every pair, come first.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from matrix import record
from matrix.cells import CONFIGURATIONS, Cell, covering, every_cell
from matrix.host import NUMBERS, Host
from matrix.record import Outcome
from matrix.refusals import REFUSALS, said
from matrix.rest import STEPS, TRAINER, Rest
from matrix.trainings import run_cell

from nnunet_fess.files import write_text
from nnunet_fess.trainers.catalogue import FEATURE, MAP, REGION

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "matrix.md"
_HEAD = """\
# The matrix: what was run with nnU-Net's own commands

This page is written by the run: `PYTHONPATH=tests python tests/matrix/page.py --minutes 120` goes on where the last one ended.
The list is `tests/matrix/cells.py`. Each cell trains, validates and predicts by nnU-Net's commands on five small generated
cases, for one epoch of two iterations on the CPU: that it runs, not that it learns. `pytest -m slow tests/matrix` runs eight of
them, in each CI; `pytest -m nightly tests/matrix` all others. In the fast tests (`pytest tests/matrix`) few chosen cells, which
hold every pair of term, labels, configuration, network and deep supervision, take steps of training and validation without the
commands.
"""
_TERMS = """\
## Every term

A number is how many of the four kinds of training ran: plain and ResEnc networks, each with and without deep supervision;
— where none was run yet. A cascade is 3d_lowres, then 3d_cascade_fullres. A trainer here has up to three terms, and which ones
go together takes turns.
"""
_ELSEWHERE = """\
Continuing after a kill is `tests/trainers/test_killed.py`, networks of other plans `tests/networks/test_stock_commands.py`, a
model that stock nnU-Net predicts with `tests/test_share.py`, nnU-Net's DDP in two processes
`tests/matrix/test_two_processes.py`, several commands at once `tests/matrix/test_side_by_side.py`.
"""
_SHORT = {"2d": "2d", "3d_fullres": "3d", "3d_cascade_fullres": "cascade"}


def step_name(step: str, kind: str) -> str:
    return f"{step}, {kind}"


def run(folder: Path, minutes: float, again: bool) -> None:
    """Run what is not on record, as long as there is time; each outcome is on record at once."""
    end = time.monotonic() + 60 * minutes
    outcomes = record.read()
    stamp = record.stamp()  # before the record itself is changed

    def is_wanted(name: str) -> bool:
        return again or name not in outcomes or outcomes[name].status != "runs"

    def note(name: str, error: BaseException | None) -> None:
        outcomes[name] = record.outcome(error, stamp)
        record.write(outcomes)
        print(f"{outcomes[name].status}: {name} {outcomes[name].reason}", flush=True)

    chosen = covering()
    order = [*chosen, *(cell for cell in every_cell() if cell not in set(chosen))]
    with Host(folder) as host:
        if not (folder / "prepared").exists():
            host.prepare()
            (folder / "prepared").touch()
        for kind in NUMBERS:
            if time.monotonic() < end and any(is_wanted(step_name(step, kind)) for step in STEPS):
                done: list[str] = []
                try:
                    for step in Rest(host, kind).run():
                        done.append(step)
                        note(step_name(step, kind), None)
                except Exception as error:
                    note(step_name([*STEPS][len(done)], kind), error)
        for cell in order:
            if time.monotonic() < end and is_wanted(str(cell)):
                note(str(cell), _error_of(lambda cell=cell: run_cell(host, cell)))


def _error_of(action: Callable[[], object]) -> BaseException | None:
    try:
        action()
    except Exception as error:
        return error
    return None


# The page


def page(outcomes: dict[str, Outcome]) -> Iterator[str]:
    """Line by line."""
    cells = every_cell()
    names = [str(cell) for cell in cells] + [step_name(step, kind) for step in STEPS for kind in NUMBERS]
    count = Counter(outcomes[name].status if name in outcomes else "not run" for name in names)
    stamps = {(outcome.commit, *sorted(outcome.versions.items())) for name, outcome in outcomes.items() if name in names}
    yield from _HEAD.splitlines()
    yield ""
    yield f"**{count['runs']} of {len(names)} ran, {count['fails']} failed, {count['not run']} were not run.** With:"
    yield ""
    for commit, *versions in sorted(stamps):
        number = sum(outcome.commit == commit for name, outcome in outcomes.items() if name in names)
        listed = ", ".join(f"{name} {version}" for name, version in versions)
        where = "" if _is_in_history(commit) else " (of a branch that was rebased before it was merged)"
        yield f"- commit `{commit[:12]}{'-dirty' * commit.endswith('-dirty')}`{where}: {number}, {listed}"
    yield ""
    yield from _TERMS.splitlines()
    yield ""
    yield from _terms(cells, outcomes)
    yield ""
    yield "## The rest of nnU-Net"
    yield ""
    yield f"With `{TRAINER}`, plans of a plain network, 2d and 3d_fullres:"
    yield ""
    yield f"| | {' | '.join(NUMBERS)} |"
    yield f"|---|{'---|' * len(NUMBERS)}"
    for step in STEPS:
        yield f"| {step} | {' | '.join(_word(outcomes.get(step_name(step, kind))) for kind in NUMBERS)} |"
    yield ""
    yield from _ELSEWHERE.splitlines()
    yield ""
    yield "## Refused before the first epoch"
    yield ""
    yield "With `NotImplementedError` and the reason, which was asked for while this page was written:"
    yield ""
    yield "| what | reason |"
    yield "|---|---|"
    for what, (refusal, _) in REFUSALS.items():
        yield f"| {what} | {said(refusal)} |"
    failed = [name for name in names if name in outcomes and outcomes[name].status == "fails"]
    if failed:
        yield ""
        yield "## Failed"
        yield ""
        for name in failed:
            yield f"- {name}: {outcomes[name].reason}"


def _is_in_history(commit: str) -> bool:
    command = ["git", "merge-base", "--is-ancestor", commit.removesuffix("-dirty"), "HEAD"]
    return subprocess.run(command, cwd=PAGE.parent, capture_output=True, check=False).returncode == 0


def _terms(cells: list[Cell], outcomes: dict[str, Outcome]) -> Iterator[str]:
    columns = list(itertools.product(NUMBERS, CONFIGURATIONS))
    yield "| | " + " | ".join(f"{kind}, {_SHORT[configuration]}" for kind, configuration in columns) + " |"
    yield f"|---|{'---|' * len(columns)}"
    for kind, terms in (("region", REGION), ("map", MAP), ("feature", FEATURE)):
        for term in terms:
            row = []
            for labels, configuration in columns:
                settings = {
                    cell.setting: outcomes[str(cell)].status
                    for cell in cells
                    if term in cell.terms
                    and (cell.setting.labels, cell.setting.configuration) == (labels, configuration)
                    and str(cell) in outcomes
                }
                ran = sum(status == "runs" for status in settings.values())
                failed = " (fails)" if "fails" in settings.values() else ""
                row.append(f"{ran or '—'}{failed}")
            yield f"| {term} ({kind}) | {' | '.join(row)} |"


def _word(outcome: Outcome | None) -> str:
    return "not run" if outcome is None else outcome.status


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60, help="after which no further cell is begun")
    parser.add_argument("--again", action="store_true", help="run what ran already, too")
    parser.add_argument("--folder", type=Path, help="of the datasets, to use them again")
    options = parser.parse_args()
    if options.minutes > 0:
        with tempfile.TemporaryDirectory() as temporary:
            run(options.folder or Path(temporary), options.minutes, options.again)
    write_text(PAGE, "\n".join(page(record.read())) + "\n")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
