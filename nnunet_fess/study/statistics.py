r"""What the scores of a study say, and what they cannot say.

A *run* is one training (trainer, seed, fold, draw of the training cases); a *case* is one test case in it. Of every metric and
structure, and of the mean over the structures (nnU-Net's foreground mean: of the structures' means):

- mean ± standard deviation over runs, and its standard error;
- an interval (95 %) from 2000 bootstrap samples that draw cases *and* runs with replacement: both are samples of what could
  have been. Trainers that have the same seeds are paired by them, here as in the test over runs;
- against the baseline, paired by seed (by draw and fold where the seeds are others): over cases, whose differences are
  averaged over runs (Wilcoxon's signed-rank test), and over runs (paired t test of their means). The first asks whether these
  trainings differ on other cases, the second whether other trainings would differ;
- p values after Holm: a family is all trainers, training sizes and plans of one metric and structure;
- effect sizes: matched-pairs rank-biserial correlation, and Cohen's d_z;
- the smallest difference that would have been found with a power of 0.8, whatever the rest of its family (at α / their number,
  Holm's first step): where it is larger than what matters, to have found no difference means nothing.

What is undefined (NaN, see `nnunet_fess.study.metrics`) is left out where it stands, from both of a pair, and counted. Ranks
know better where another trainer has a value: who predicted nothing where nothing is has the best Dice, IoU and NSD (precision
does not tell it from having missed everything), and who missed a structure comes after everybody who found it.

Sources: Wilcoxon 1945; Holm 1979; Kerby 2014 (rank-biserial); Davison & Hinkley 1997, section 3.8 (nested resampling); ranks
and their stability: Wiesenfarth et al. 2021 (challengeR).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.power import TTestPower

from nnunet_fess.study.metrics import LENGTHS, LOWER_IS_BETTER
from nnunet_fess.study.results import Case, Run

MEAN = "mean"  # the name of the mean over structures, where a structure's name stands
ALPHA, POWER = 0.05, 0.8
_SAMPLES = 2000
_UNBOUNDED = (*LENGTHS, "lesion_fp")  # the others are between 0 and 1
# Undefined in one trainer's prediction and 0 in another's: the structure is not in the image, and the first is right.
_RIGHTLY_NOTHING = ("dice", "iou", "nsd")
_DECIMALS = 12  # of scores; what is beyond them is rounding, which is no variation and breaks no tie
Values = NDArray[np.float64]


class Setting(NamedTuple):
    """What trainers are compared under: dataset, training size, and plans, which name the network."""

    dataset: str
    size: int | str
    plans: str = "nnUNetPlans"

    @classmethod
    def of(cls, one: Case | Run) -> Setting:
        """Of a run, or of a case in it."""
        return cls(one.dataset, one.size, one.plans)


class Slot(NamedTuple):
    """What two runs share that can be paired."""

    repeat: int
    fold: int


@dataclass(frozen=True)
class Summary:
    """One trainer's scores.

    Attributes:
        setting: dataset, training size and plans.
        trainer: its label.
        structure: name, or `MEAN`.
        metric: of `nnunet_fess.study.metrics.METRICS`.
        mean: of the runs' means; NaN if nothing is defined.
        sd: over runs, n - 1; NaN of one run.
        sem: sd / √runs.
        low, high: 95 % bootstrap interval over cases and runs.
        runs: how many have a value.
        cases: how many different ones.
        undefined: values of all runs that are not defined.
    """

    setting: Setting
    trainer: str
    structure: str
    metric: str
    mean: float
    sd: float
    sem: float
    low: float
    high: float
    runs: int
    cases: int
    undefined: int


@dataclass(frozen=True)
class Comparison:
    """One trainer against the baseline.

    Attributes:
        setting, trainer, structure, metric: as in `Summary`.
        baseline: the other trainer.
        difference: trainer - baseline, in the metric's unit.
        low, high: its 95 % bootstrap interval.
        cases: paired ones.
        p_cases: Wilcoxon's, over cases; NaN where there is none.
        p_cases_holm: after Holm.
        rank_biserial: -1 … 1; how much larger the positive signed ranks are than the negative ones.
        d_z: mean / standard deviation of the cases' differences.
        runs: paired ones.
        sd_runs: standard deviation of their differences, NaN of fewer than two; what `runs_needed` plans a next study with.
        p_runs: paired t test over runs; NaN of fewer than two.
        p_runs_holm: after Holm.
        detectable: the smallest difference that would have been found with a power of 0.8 after Holm, by cases or by runs,
            whichever is larger.
        left_out: pairs of values of which one or both are not defined.
        family: how many comparisons Holm's correction is over.
    """

    setting: Setting
    trainer: str
    baseline: str
    structure: str
    metric: str
    difference: float
    low: float
    high: float
    cases: int
    p_cases: float
    rank_biserial: float
    d_z: float
    runs: int
    sd_runs: float
    p_runs: float
    detectable: float
    left_out: int
    p_cases_holm: float = math.nan
    p_runs_holm: float = math.nan
    family: int = 1

    @property
    def told_apart(self) -> bool:
        """Whether the cases tell the two apart: Holm-adjusted p < 0.05 and an interval without 0."""
        return self.p_cases_holm < ALPHA and not self.low <= 0 <= self.high

    @property
    def better(self) -> bool:
        """Whether the difference is in the good direction."""
        return (self.difference < 0) == (self.metric in LOWER_IS_BETTER) and self.difference != 0

    @property
    def in_words(self) -> str:
        """What may be said; never that there is no difference."""
        if not self.cases:
            return "no case in which both are defined"
        if self.told_apart:
            word = "better" if self.better else "worse"
            if self.runs < 2:
                return f"{word} in this one run; whether another training would be, cannot be told"
            cases = "the cases in which both are defined" if self.left_out else "cases"
            if self.p_runs_holm < ALPHA:
                return f"{word}, over {cases} and over runs"
            return f"{word} over {cases}; {self.runs} runs do not suffice to say it of another training"
        if not self.low <= 0 <= self.high and math.isfinite(self.low):
            word = "better" if self.better else "worse"
            return f"perhaps {word}: the interval leaves out 0, but {self.cases} cases do not suffice for so many comparisons"
        if math.isnan(self.detectable):
            return "cannot be told: too few cases and runs"
        if self.detectable == 0:
            return f"cannot be told: each of the {self.cases} cases says the same, which cannot tell what would have been seen"
        # Wilcoxon's smallest p is 2 / 2ⁿ; and no overlap can differ by more than 1
        if 2.0 ** (1 - self.cases) * self.family >= ALPHA or (self.metric not in _UNBOUNDED and self.detectable >= 1):
            several = f" for {self.family} comparisons" if self.family > 1 else ""
            there = f"{self.cases} case{'s' * (self.cases != 1)} and {self.runs} run{'s' * (self.runs != 1)}"
            return f"cannot be told: {there} are too few{several} to see any difference for sure"
        least = f"{self.detectable:.2g}" if self.detectable < 99.5 else f"{self.detectable:.0f}"
        return f"cannot be told apart; a difference below {least} would not have been seen"


@dataclass(frozen=True)
class Rank:
    """A trainer's place among all.

    Attributes:
        setting, trainer, structure, metric: as in `Summary`.
        place: 1 is best; ties share the mean.
        mean_rank: mean over cases of its rank in the case.
        low, high: 95 % interval of its place over bootstrap samples of the cases.
        first: share of those samples in which it has the best mean rank.
    """

    setting: Setting
    trainer: str
    structure: str
    metric: str
    place: float
    mean_rank: float
    low: float
    high: float
    first: float


def summaries(
    cases: Iterable[Case], metrics: Sequence[str], seed: int = 0, patients: Mapping[str, str] | None = None
) -> list[Summary]:
    """Every trainer's scores, in the order of settings, trainers, metrics and structures as they come; see `comparisons`."""
    found = []
    for setting, table in _tables(cases).items():
        samples = _Bootstrap(table, seed, patients or {})
        for trainer in table.trainers:
            for metric in metrics:
                for structure in (*table.structures, MEAN):
                    found.append(_summary(setting, samples, trainer, structure, metric))
    return found


def comparisons(
    cases: Iterable[Case],
    metrics: Sequence[str],
    baseline: str,
    seed: int = 0,
    patients: Mapping[str, str] | None = None,
    structures: Sequence[str] | None = None,
) -> list[Comparison]:
    """Every other trainer against the baseline.

    Args:
        cases: scores.
        metrics: which.
        baseline: label of a trainer; settings without it have no comparison.
        seed: of the bootstrap.
        patients: case → patient, where several cases are one patient's: those are no independent samples, so that tests and
            bootstrap then go over patients. None: each case is a patient.
        structures: which, and `MEAN`; None: all.
    """
    found: list[Comparison] = []
    tables = {setting: table for setting, table in _tables(cases).items() if baseline in table.trainers}
    families = Counter(setting.dataset for setting, table in tables.items() for _ in table.trainers[1:])
    for setting, table in tables.items():
        samples = _Bootstrap(table, seed, patients or {})
        wanted = [name for name in (*table.structures, MEAN) if structures is None or name in structures]
        for trainer in table.trainers:
            if trainer != baseline:
                for metric in metrics:
                    found += _comparisons(setting, samples, trainer, baseline, wanted, metric, families[setting.dataset])
    return _holm(found)


def best(found: Sequence[Summary], setting: Setting, structure: str, metric: str) -> str | None:
    """The trainer with the best mean; None if none has one.

    A mean that lacks a structure that another has leads nothing; nor does a distance of who missed the structure in more cases
    than another, since what was missed has no distance.
    """
    here = [s for s in found if (s.setting, s.metric) == (setting, metric) and not math.isnan(s.mean)]
    rows = [s for s in here if s.structure == structure]
    if structure == MEAN:
        behind = Counter(s.trainer for s in here)
        rows = [s for s in rows if behind[s.trainer] == max(behind.values())]
    if metric in LENGTHS:
        rows = [s for s in rows if s.undefined == min(other.undefined for other in rows)]
    key: Callable[[Summary], float] = lambda s: s.mean if metric in LOWER_IS_BETTER else -s.mean  # noqa: E731
    return min(rows, key=key).trainer if rows else None


def ranks(
    cases: Iterable[Case], metrics: Sequence[str], seed: int = 0, patients: Mapping[str, str] | None = None
) -> list[Rank]:
    """Places of the trainers by their mean rank over the cases, which are averaged over runs first, and over a patient's."""
    found = []
    for setting, table in _tables(cases).items():
        for metric in metrics:
            for structure in (*table.structures, MEAN):
                found += _ranks(setting, table, structure, metric, seed, patients or {})
    return found


def runs_needed(sd: float, difference: float, power: float = POWER, alpha: float = ALPHA) -> int:
    """How many paired runs a two-sided t test needs to find a difference.

    Args:
        sd: standard deviation of the pairs' differences.
        difference: that is to be found, in the same unit.
        power: probability of finding it.
        alpha: of finding one that is not there.

    Raises:
        ValueError: an sd or difference that is not positive.

    Example:
        >>> runs_needed(sd=0.02, difference=0.01)
        34
    """
    if not sd > 0 or not difference > 0:
        raise ValueError(f"sd and difference must be positive. Got: {sd} and {difference}")
    needed = TTestPower().solve_power(effect_size=difference / sd, power=power, alpha=alpha, alternative="two-sided")
    return max(2, math.ceil(float(np.ravel(needed)[0])))


# Scores as arrays


@dataclass(frozen=True)
class _Run:
    """Scores of one run: metric → (cases, structures), and which cases the rows are."""

    slot: Slot
    seed: int | None
    rows: Mapping[str, int]
    values: Mapping[str, Values]


@dataclass(frozen=True)
class _Table:
    """Everything of one setting."""

    structures: tuple[str, ...]
    runs: Mapping[str, Sequence[_Run]]

    @property
    def trainers(self) -> list[str]:
        return list(self.runs)

    def columns(self, structure: str) -> list[int]:
        """Of the structures that a structure's name means."""
        return list(range(len(self.structures))) if structure == MEAN else [self.structures.index(structure)]


def _tables(cases: Iterable[Case]) -> dict[Setting, _Table]:
    gathered: dict[Setting, dict[str, dict[Hashable, list[Case]]]] = {}
    for case in cases:
        runs = gathered.setdefault(Setting.of(case), {}).setdefault(case.trainer, {})
        runs.setdefault((case.repeat, case.fold, case.seed), []).append(case)
    return {setting: _table(trainers) for setting, trainers in gathered.items()}


def _table(trainers: Mapping[str, Mapping[Hashable, Sequence[Case]]]) -> _Table:
    everything = [case for runs in trainers.values() for found in runs.values() for case in found]
    structures = tuple(dict.fromkeys(case.structure for case in everything))
    column = {name: number for number, name in enumerate(structures)}
    metrics = list(dict.fromkeys(metric for case in everything for metric in case.values))

    def run(found: Sequence[Case]) -> _Run:
        rows = {name: number for number, name in enumerate(dict.fromkeys(case.case for case in found))}
        values = {metric: np.full((len(rows), len(structures)), np.nan) for metric in metrics}
        for case in found:
            for metric, value in case.values.items():
                values[metric][rows[case.case], column[case.structure]] = value
        return _Run(Slot(found[0].repeat, found[0].fold), found[0].seed, rows, values)

    return _Table(structures, {name: [run(found) for found in runs.values()] for name, runs in trainers.items()})


def _nanmean(values: Values, axis: int | None = None) -> Values:
    """Mean of what is defined, NaN of nothing, without numpy's warning."""
    count = np.isfinite(values).sum(axis)
    total = np.where(np.isfinite(values), values, 0).sum(axis)
    return _quotient(total, count)


def _quotient(total: Values, weight: Values) -> Values:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(weight > 0, total / weight, np.nan))


def _run_mean(values: Values) -> float:
    """Of (cases, structures): the mean of the structures' means, as nnU-Net's foreground mean."""
    return float(_nanmean(_nanmean(values, 0)))


class _Bootstrap:
    """Samples of cases and runs, drawn once for all trainers of a setting.

    A sample draws patients, the same for all runs and trainers, and runs within each slot: the same seeds for all trainers that
    have the same ones there, as the test over runs pairs them, else for each by itself. What is drawn twice weighs twice.

    Args:
        table: the scores.
        seed: of the draws.
        patients: case → patient; a case that is not in it is a patient of its own.
    """

    def __init__(self, table: _Table, seed: int, patients: Mapping[str, str]) -> None:
        self.table, self.seed, self.patients = table, seed, patients
        everybody = sorted({self.patient(case) for runs in table.runs.values() for run in runs for case in run.rows})
        self._place = {patient: index for index, patient in enumerate(everybody)}
        equal = np.full(len(everybody), 1 / len(everybody))
        self._drawn = np.random.default_rng(seed).multinomial(len(everybody), equal, _SAMPLES).astype(float)
        self._known: dict[tuple[str, str], Values] = {}
        self._drawn_seeds: dict[str, dict[int | None, Values]] = {}

    def patient(self, case: str) -> str:
        """Whose case it is."""
        return self.patients.get(case, case)

    def means(self, trainer: str, metric: str) -> Values:
        """The structures' means in each of the samples, (samples, structures)."""
        if (trainer, metric) not in self._known:
            self._known[trainer, metric] = self._means(trainer, metric)
        return self._known[trainer, metric]

    def _means(self, trainer: str, metric: str) -> Values:
        width = len(self.table.structures)
        total, weight = (np.zeros((_SAMPLES, width)) for _ in range(2))
        by_slot: dict[Slot, list[_Run]] = {}
        for run in self.table.runs[trainer]:
            if metric in run.values:
                by_slot.setdefault(run.slot, []).append(run)
        for slot, runs in by_slot.items():
            times = self._times(slot, [run.seed for run in runs])
            for run in runs:
                drawn = self._patients_of(run.rows) * times[run.seed][:, None]
                values = run.values[metric]
                counts = np.isfinite(values)
                total += drawn @ np.where(counts, values, 0)
                weight += drawn @ counts.astype(float)
        return _quotient(total, weight)

    def differences(self, pairs: Sequence[_Pair], metric: str) -> Values:
        """The structures' differences in each of the samples, (samples, structures): of what the pairs say, and no more."""
        width = len(self.table.structures)
        total, weight = (np.zeros((_SAMPLES, width)) for _ in range(2))
        seeds: dict[Slot, list[int | None]] = {}
        for pair in pairs:
            if pair.of_one_seed:
                seeds.setdefault(pair.ours[0].slot, []).append(pair.ours[0].seed)
        for pair in pairs:
            if not pair.apart:
                continue
            drawn = self._patients_of(pair.apart)
            apart = np.stack([*pair.apart.values()])
            counts = np.isfinite(apart)
            slot = pair.ours[0].slot
            if pair.of_one_seed:
                drawn = drawn * self._times(slot, seeds[slot])[pair.ours[0].seed][:, None]
                total += drawn @ np.where(counts, apart, 0)
            else:
                for sign, runs in ((1, pair.ours), (-1, pair.theirs)):
                    times = self._times(slot, [run.seed for run in runs])
                    for run in runs:
                        values = run.values[metric][[run.rows[case] for case in pair.apart]]
                        total += sign * times[run.seed][:, None] / len(runs) * (drawn @ np.where(counts, values, 0))
            weight += drawn @ counts.astype(float)
        return _quotient(total, weight)

    def _patients_of(self, cases: Iterable[str]) -> Values:
        """How often each case's patient is drawn, (samples, cases)."""
        return self._drawn[:, [self._place[self.patient(case)] for case in cases]]

    def _times(self, slot: Slot, seeds: Sequence[int | None]) -> dict[int | None, Values]:
        """How often each of a slot's seeds is drawn in each of the samples."""
        key = repr((slot, sorted(seeds, key=str)))
        if key not in self._drawn_seeds:
            own = np.random.default_rng([self.seed, *key.encode()])
            drawn = own.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), _SAMPLES).astype(float)
            self._drawn_seeds[key] = dict(zip(sorted(seeds, key=str), drawn.T, strict=True))
        return self._drawn_seeds[key]


# One trainer


def _summary(setting: Setting, samples: _Bootstrap, trainer: str, structure: str, metric: str) -> Summary:
    table = samples.table
    columns = table.columns(structure)
    runs = [run for run in table.runs[trainer] if metric in run.values]
    means = np.array([_run_mean(run.values[metric][:, columns]) for run in runs])
    means = means[np.isfinite(means)]
    n = len(means)
    sd = float(means.std(ddof=1)) if n > 1 else math.nan
    low, high = _interval(_nanmean(samples.means(trainer, metric)[:, columns], 1))
    everything = [run.values[metric][:, columns] for run in runs]
    return Summary(
        setting,
        trainer,
        structure,
        metric,
        mean=float(means.mean()) if n else math.nan,
        sd=sd,
        sem=sd / math.sqrt(n) if n > 1 else math.nan,
        low=low,
        high=high,
        runs=n,
        cases=len({case for run in runs for case in run.rows}),
        undefined=sum(int(np.isnan(values).sum()) for values in everything),
    )


def _interval(samples: Values) -> tuple[float, float]:
    defined = samples[np.isfinite(samples)]
    if not defined.size:
        return math.nan, math.nan
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


# Two trainers


def _comparisons(
    setting: Setting,
    samples: _Bootstrap,
    trainer: str,
    baseline: str,
    structures: Sequence[str],
    metric: str,
    family: int,
) -> Iterator[Comparison]:
    table = samples.table
    pairs = _pairs(table.runs[trainer], table.runs[baseline], metric)
    apart = [(case, values) for pair in pairs for case, values in pair.apart.items()]
    drawn = samples.differences(pairs, metric)
    for structure in structures:
        columns = table.columns(structure)
        per_patient: dict[str, list[float]] = {}
        for case, values in apart:
            if np.isfinite(values[columns]).any():
                per_patient.setdefault(samples.patient(case), []).append(float(_nanmean(values[columns])))
        differences = np.array([float(np.mean(per_patient[patient])) for patient in sorted(per_patient)]).round(_DECIMALS)
        of_runs = [_run_mean(np.stack([*pair.apart.values()])[:, columns]) for pair in pairs if pair.apart]
        by_run = np.array([value for value in of_runs if math.isfinite(value)]).round(_DECIMALS)
        low, high = _interval(_nanmean(drawn[:, columns], 1))
        detectable = [value for value in (_detectable(each, family) for each in (differences, by_run)) if math.isfinite(value)]
        yield Comparison(
            setting,
            trainer,
            baseline,
            structure,
            metric,
            difference=_run_mean(np.stack([values for _, values in apart])[:, columns]) if apart else math.nan,
            low=low,
            high=high,
            cases=len(differences),
            p_cases=_wilcoxon(differences),
            rank_biserial=_rank_biserial(differences),
            d_z=_d_z(differences),
            runs=len(by_run),
            sd_runs=_sd(by_run),
            p_runs=_t_test(by_run),
            detectable=max(detectable, default=math.nan),
            left_out=sum(int(np.isnan(values[columns]).sum()) for _, values in apart),
            family=family,
        )


@dataclass(frozen=True)
class _Pair:
    """Runs that are compared: two of one seed, or all of a slot.

    Attributes:
        ours, theirs: the runs.
        apart: case → the structures' differences (of means over the runs), undefined where one of the runs' values is.
    """

    ours: Sequence[_Run]
    theirs: Sequence[_Run]
    apart: Mapping[str, Values]

    @property
    def of_one_seed(self) -> bool:
        """Whether it is one run of each, of the same seed."""
        return len(self.ours) == len(self.theirs) == 1 and self.ours[0].seed == self.theirs[0].seed

    @classmethod
    def of(cls, ours: Sequence[_Run], theirs: Sequence[_Run], metric: str) -> _Pair:
        """Compare them."""

        def mean(runs: Sequence[_Run], case: str) -> Values:
            return np.asarray(np.mean([run.values[metric][run.rows[case]] for run in runs], 0))

        cases = [case for case in ours[0].rows if all(case in run.rows for run in (*ours, *theirs))]
        return cls(ours, theirs, {case: mean(ours, case) - mean(theirs, case) for case in cases})


def _pairs(ours: Sequence[_Run], theirs: Sequence[_Run], metric: str) -> list[_Pair]:
    """By slot and seed where both have the same seeds there, else by slot."""
    by_slot: list[dict[Slot, dict[int | None, _Run]]] = []
    for runs in (ours, theirs):
        found: dict[Slot, dict[int | None, _Run]] = {}
        for run in runs:
            if metric in run.values:
                found.setdefault(run.slot, {})[run.seed] = run
        by_slot.append(found)
    pairs = []
    for slot in sorted(by_slot[0].keys() & by_slot[1].keys()):
        one, other = by_slot[0][slot], by_slot[1][slot]
        if one.keys() == other.keys():
            pairs += [_Pair.of([one[seed]], [other[seed]], metric) for seed in one]
        else:
            pairs.append(_Pair.of([*one.values()], [*other.values()], metric))
    return pairs


def _sd(differences: Values) -> float:
    if len(differences) < 2:
        return math.nan
    return float(differences.std(ddof=1)) if np.ptp(differences) else 0.0  # the mean's rounding is no spread


def _wilcoxon(differences: Values) -> float:
    if not len(differences):
        return math.nan
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences).pvalue)


def _t_test(differences: Values) -> float:
    if len(differences) < 2:
        return math.nan
    if np.ptp(differences) == 0:  # t is infinite or undefined; no variation has been seen, so none can be tested
        return 1.0 if differences[0] == 0 else math.nan
    return float(stats.ttest_1samp(differences, 0).pvalue)


def _rank_biserial(differences: Values) -> float:
    differences = differences[differences != 0]
    if not len(differences):
        return math.nan
    signed = stats.rankdata(np.abs(differences)) * np.sign(differences)
    return float(signed.sum() / np.abs(signed).sum())


def _d_z(differences: Values) -> float:
    if len(differences) < 2 or np.ptp(differences) == 0:
        return math.nan
    return float(differences.mean() / _sd(differences))


def _detectable(differences: Values, family: int) -> float:
    """By the t distribution: (t(1 - α/2) + t(power)) · sd / √n, with α over the size of the family."""
    n = len(differences)
    if n < 2:
        return math.nan
    quantiles = stats.t.ppf(1 - ALPHA / family / 2, n - 1) + stats.t.ppf(POWER, n - 1)
    return float(quantiles * _sd(differences) / math.sqrt(n))


def _holm(found: Sequence[Comparison]) -> list[Comparison]:
    adjusted = list(found)
    families: dict[tuple[str, str, str], list[int]] = {}
    for number, comparison in enumerate(found):
        families.setdefault((comparison.setting.dataset, comparison.metric, comparison.structure), []).append(number)
    for members in families.values():
        p_cases, p_runs = (_corrected([getattr(found[number], name) for number in members]) for name in ("p_cases", "p_runs"))
        for number, of_cases, of_runs in zip(members, p_cases, p_runs, strict=True):
            adjusted[number] = replace(adjusted[number], p_cases_holm=float(of_cases), p_runs_holm=float(of_runs))
    return adjusted


def _corrected(p: Sequence[float]) -> Values:
    """After Holm; what could not be tested is no member of the family.

    statsmodels' function does the same, but collects the garbage of the whole process in every call: half of a report's time.
    """
    values = np.array(p, float)
    order = np.argsort(values)[: np.isfinite(values).sum()]  # NaN is last
    values[order] = np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)).clip(max=1)
    return values


# All trainers


def _ranks(setting: Setting, table: _Table, structure: str, metric: str, seed: int, patients: Mapping[str, str]) -> list[Rank]:
    columns = table.columns(structure)
    by_key: dict[tuple[Slot, str], dict[str, list[Values]]] = {}
    for trainer, runs in table.runs.items():
        for run in runs:
            if metric in run.values:
                for case, row in run.rows.items():
                    found = by_key.setdefault((run.slot, case), {}).setdefault(trainer, [])
                    found.append(run.values[metric][row, columns])
    # patient → trainer → what was asked of it, NaN where it has no answer
    answers: dict[str, dict[str, list[Values]]] = {}
    for (_, case), of_trainers in by_key.items():
        # who lacks a structure that another one has does not get away with the mean of the rest
        everyones = np.concatenate([*of_trainers.values()])
        asked = np.isfinite(everyones).any(0)
        absent = np.nan_to_num(everyones[:, asked]).max(0) == 0 if metric in _RIGHTLY_NOTHING else False
        if asked.any():
            for trainer, rows in of_trainers.items():
                answer = np.stack(rows)[:, asked]
                answer = np.where(np.isnan(answer) & absent, 1.0, answer)
                answers.setdefault(patients.get(case, case), {}).setdefault(trainer, []).append(answer)
    if not answers:
        return []
    sign = 1 if metric in LOWER_IS_BETTER else -1

    def key(given: Sequence[Values]) -> tuple[float, float]:
        """First how much is missing, then what there is: a structure that was not found has no distance."""
        if not given:
            return 1.0, 0.0
        missing = np.concatenate([np.isnan(answer).ravel() for answer in given]).mean()
        score = _nanmean(np.array([_nanmean(answer) for answer in given]))
        return round(float(missing), _DECIMALS), round(sign * float(score), _DECIMALS) if np.isfinite(score) else 0.0

    keys = [[key(of_patient.get(trainer, [])) for trainer in table.trainers] for of_patient in answers.values()]
    by_case = np.array([stats.rankdata([sorted(set(row)).index(one) for one in row]) for row in keys])
    drawn = np.random.default_rng(seed).multinomial(len(by_case), np.full(len(by_case), 1 / len(by_case)), _SAMPLES)
    sampled = stats.rankdata(np.round(drawn @ by_case / len(by_case), 12), axis=1)
    leads = sampled == sampled.min(1, keepdims=True)
    first = leads / leads.sum(1, keepdims=True)
    mean = by_case.mean(0)
    places = stats.rankdata(np.round(mean, 12))
    low, high = np.percentile(sampled, [2.5, 97.5], axis=0)
    columns_of_ranks = np.stack([places, mean, low, high, first.mean(0)], 1).tolist()
    return [Rank(setting, name, structure, metric, *row) for name, row in zip(table.trainers, columns_of_ranks, strict=True)]
