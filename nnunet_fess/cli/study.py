"""`nnunet_fess study VERB …`: a fair comparison of losses, from one file to the paper's tables."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_fess import arguments

# Verb -> its module and function, with arguments of its own, and one line of help.
VERBS = {
    "init": ("nnunet_fess.cli.study", "init", "write a commented file to begin with"),
    "check": ("nnunet_fess.cli.study", "check", "say all that could fail, before anything is trained"),
    "run": ("nnunet_fess.cli.study", "run", "train, predict; goes on where an earlier call was stopped"),
    "cancel": ("nnunet_fess.cli.study", "cancel", "take a cluster's jobs out of its queue"),
    "status": ("nnunet_fess.cli.study", "status", "how far it is"),
    "evaluate": ("nnunet_fess.cli.study", "evaluate", "measure the finished runs: cases.csv"),
    "report": ("nnunet_fess.cli.study", "report", "tables, tests and figures: report.html, .md, .tex, statistics.csv"),
}


def main(argv: Sequence[str]) -> int:
    """Run one verb."""
    parser = arguments.parser(
        "nnunet_fess study",
        "Compare losses fairly: the same data, folds, seeds and training sets for each, trained by nnU-Net's own commands.\n"
        "Begin with  nnunet_fess study init > study.yaml",
        "verbs:\n" + "\n".join(f"  {verb:<10} {text}" for verb, (_, _, text) in VERBS.items()),
    )
    parser.add_argument("verb", choices=VERBS, metavar="VERB", help="one of those listed below")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="see  nnunet_fess study VERB --help")
    if not argv:
        parser.print_help()
        return 0
    chosen = parser.parse_args(argv)
    module, function, _ = VERBS[chosen.verb]
    code: int = getattr(importlib.import_module(module), function)(chosen.arguments)
    return code


def init(argv: Sequence[str]) -> int:
    """Write a preset's file to stdout."""
    from nnunet_fess.study import presets

    parser = arguments.parser(
        "nnunet_fess study init",
        "Write a commented file to begin with:  nnunet_fess study init > study.yaml\n"
        "quick: the demo's phantom on a CPU; fess, contour, contour-networks, regionwise: the papers' tables;\n"
        "without a preset: your own.",
    )
    listed = [name for name in presets.names() if name != presets.DEFAULT]
    parser.add_argument("--preset", choices=listed, default=presets.DEFAULT, help="which (default: one for your own data)")
    chosen = parser.parse_args(argv)
    sys.stdout.write(presets.text(chosen.preset))
    return 0


def check(argv: Sequence[str]) -> int:
    """Say what would fail."""
    parser = arguments.parser("nnunet_fess study check", "Say all that could fail, before an hour is spent. Changes nothing.")
    _file(parser)
    chosen = parser.parse_args(argv)
    from nnunet_fess.study.check import report
    from nnunet_fess.study.config import load

    return report(load(chosen.file))


def run(argv: Sequence[str]) -> int:
    """Run what is missing."""
    parser = arguments.parser(
        "nnunet_fess study run",
        "Make splits and preprocessed data, train every run that is missing, predict. What is finished stays; a stopped\n"
        "training goes on from its last checkpoint. Several calls share the work, on one machine or several with one disk.\n"
        "With  executor: {kind: slurm, …}  it submits a job for every run that is missing, and returns.",
    )
    _file(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="print the commands, run none")
    instead.add_argument("--prepare", action="store_true", help="on this machine, plan and preprocess only")
    instead.add_argument("--run", metavar="ID", help="on this machine, work on this run only: what a cluster's job does")
    parser.add_argument(
        "--stop-within",
        type=_seconds,
        default=555.0,
        metavar="SECONDS",
        help="with --run, after SIGUSR1: let a training finish its epoch for so long (default: 555); exit code 75 then",
    )
    chosen = parser.parse_args(argv)
    from nnunet_fess.study import run as running
    from nnunet_fess.study.config import Slurm, load

    file = load(chosen.file)
    if chosen.dry_run:
        return running.dry_run(file)
    if chosen.prepare:
        return running.prepare_study(file)
    if chosen.run is not None:
        return running.run_one(file, chosen.run, chosen.stop_within)
    if isinstance(file.study.executor, Slurm):
        from nnunet_fess.study.slurm import submit_study

        return submit_study(file)
    return running.run_study(file)


def cancel(argv: Sequence[str]) -> int:
    """Take a study's jobs out of the queue."""
    parser = arguments.parser("nnunet_fess study cancel", "Cancel the study's jobs on a cluster, waiting and running ones.")
    _file(parser)
    chosen = parser.parse_args(argv)
    from nnunet_fess.study.config import load
    from nnunet_fess.study.slurm import cancel_study

    return cancel_study(load(chosen.file))


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds


def status(argv: Sequence[str]) -> int:
    """Print how far the study is."""
    parser = arguments.parser("nnunet_fess study status", "Say how far the runs are. Changes nothing.")
    _file(parser)
    parser.add_argument("--watch", action="store_true", help="again every few seconds, until all is done or Ctrl-C")
    chosen = parser.parse_args(argv)
    from nnunet_fess.study.config import load
    from nnunet_fess.study.status import report, watch

    file = load(chosen.file)
    return watch(file) if chosen.watch else report(file)


def evaluate(argv: Sequence[str]) -> int:
    """Measure the finished runs."""
    parser = arguments.parser(
        "nnunet_fess study evaluate",
        "Measure every finished run and write cases.csv. What has been measured as it is now is not measured again.",
    )
    _file(parser)
    chosen = parser.parse_args(argv)
    from nnunet_fess.study.config import load
    from nnunet_fess.study.results import CASES
    from nnunet_fess.study.scores import evaluate_study

    file = load(chosen.file)
    problems = evaluate_study(file)
    print(f"wrote {file.results / CASES}")
    return _tell(problems)


def report(argv: Sequence[str]) -> int:
    """Write the report."""
    parser = arguments.parser(
        "nnunet_fess study report",
        "Measure what is missing and write the report of what is finished so far: report.html opens in every browser,\n"
        "offline; report.md, report.tex, statistics.csv and figures/ hold the same for other uses.",
    )
    _file(parser)
    chosen = parser.parse_args(argv)
    from nnunet_fess.study.config import load
    from nnunet_fess.study.scores import report_study

    page, problems = report_study(load(chosen.file))
    print(f"wrote {page}")
    return _tell(problems)


def _tell(problems: Sequence[str]) -> int:
    """Runs that could not be measured are no reason to keep the others back, but the exit code says so."""
    for problem in problems:
        print(f"warning: left out: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _file(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the study's file, such as study.yaml")
