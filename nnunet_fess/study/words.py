"""What a report says in words: of the study, of its tests, and of what they cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nnunet_fess import machine
from nnunet_fess.study import figures
from nnunet_fess.study.metrics import LENGTHS, LOWER_IS_BETTER
from nnunet_fess.study.results import Case, Run
from nnunet_fess.study.statistics import ALPHA, MEAN, POWER, Comparison, Setting
from nnunet_fess.study.tables import Described, number_text, setting_name

ABOUT_RANKS = (
    "Mean over the cases of a trainer's rank in the case (1 is best; an undefined value is last), the place that this gives "
    "it, the place's 95 % interval over bootstrap samples of the cases, and the share of samples in which it is first."
)


def subtitle(runs: Sequence[Run], cases: Sequence[Case], patients: Mapping[str, str]) -> str:
    """How much there is of what."""
    tested = {(case.dataset, case.case) for case in cases}
    people = {(dataset, patients.get(case, case)) for dataset, case in tested}
    of = f" of {len(people)} patients, whose cases count as one" if len(people) < len(tested) else ""
    seeds = {run.seed for run in runs if run.seed is not None}
    plans = len({run.plans for run in runs})
    finished = sum(run.status == "finished" for run in runs)
    return (
        f"{', '.join(dict.fromkeys(run.dataset for run in runs))}. {finished} of {len(runs)} runs are finished, "
        f"{_number(len({run.trainer for run in runs}), 'trainer')}, {f'{plans} plans, ' if plans > 1 else ''}"
        f"{_number(max(1, len(seeds)), 'seed')}, {_number(len({run.fold for run in runs}), 'fold')}, "
        f"{_number(len({run.repeat for run in runs}), 'draw')} of training sets, {_number(len(tested), 'test case')}{of}."
    )


def _number(count: int, word: str) -> str:
    return f"{count} {word}{'s' * (count != 1)}"


def findings(described: Described, settings: Sequence[Setting], against: Sequence[Comparison]) -> list[str]:
    """The first metric's mean over structures, trainer by trainer."""
    metric = described.metrics[0]
    digits = 2 if metric in LENGTHS else 4
    lines = []
    for row in against:
        structures = {other.structure for other in against if other.setting == row.setting}
        if row.metric == metric and (row.structure == MEAN or len(structures) == 1):
            lines.append(
                f"{row.trainer} against {row.baseline}, {setting_name(row.setting, settings)}, {described.name_of(metric)}: "
                f"{number_text(row.difference, digits, sign=True)} ({number_text(row.low, digits, sign=True)} to "
                f"{number_text(row.high, digits, sign=True)}), {row.in_words}."
            )
    return lines or [f"Nothing to compare: {described.baseline} has no finished run beside another trainer's."]


def how_to_read(described: Described) -> str:
    """What the results tables mean."""
    lengths = LENGTHS & {*described.metrics}
    lower = [figures.metric_name(metric) for metric in described.metrics if metric in LOWER_IS_BETTER]
    return (
        "Mean ± standard deviation over the runs (seeds, folds, draws), each the mean over its test cases; “mean” is the mean "
        "of the structures' means, as nnU-Net's. Bold and underlined: the best; ≈ and italic: the cases do not tell it apart "
        f"from the best (Wilcoxon's signed-rank test after Holm, p ≥ {ALPHA}), which does not say that it is as good. "
        + (f"Less is better for {', '.join(lower)}. " if lower else "")
        + "A value that is not defined, such as a distance to a structure that was not found, is counted and not averaged"
        + ("; who found a structure in fewer cases than another has no best distance." if lengths else ".")
    )


def about_tests(against: Sequence[Comparison]) -> str:
    """What the tests are, and what so few cases and runs cannot say."""
    few = [row for row in against if 0 < row.cases < 6]
    runs = {row.runs for row in against}
    text = (
        "Differences are the trainer's minus the baseline's, on the cases that both have. The interval is from 2000 bootstrap "
        "samples that draw cases and runs, of both trainers the same seeds where they have the same. p: Wilcoxon's signed-rank "
        "test over cases, whose differences are averaged over runs first; p over runs: paired t test of the runs' means. Both "
        "after Holm over all trainers, training sizes and plans of a metric and structure. Effect sizes: matched-pairs "
        "rank-biserial correlation, and Cohen's d_z. What “would not have "
        f"been seen” is what such a study finds, after Holm, with a probability of less than {POWER:.0%}."
    )
    if max(runs, default=0) < 2:
        text += " There is one run per trainer: nothing here says what another training would give."
    elif max(runs, default=0) < 5:
        text += f" There are {_listed(runs)} paired runs, few: the test over runs finds large differences only."
    if few:
        text += " With fewer than six cases Wilcoxon's p cannot fall below 0.05, whatever the difference."
    return text


def _listed(numbers: set[int]) -> str:
    *others, last = map(str, sorted(numbers))
    return f"{', '.join(others)} or {last}" if others else last


def made_on(runs: Sequence[Run]) -> str:
    """Machines and versions of the runs, and of this report."""
    hosts = ", ".join(sorted({run.host for run in runs if run.host}))
    versions = {f"{name} {version}" for run in runs for name, version in run.versions.items()}
    here = f"Report made with {', '.join(f'{n} {v}' for n, v in machine.versions(['nnunet-fess']).items())}."
    return (f"Runs on {hosts}. " if hosts else "") + (f"{', '.join(sorted(versions))}. " if versions else "") + here
