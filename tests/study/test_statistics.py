"""Statistics against scipy, statsmodels, closed forms and simulations; and what may not be said."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nnunet_fess.study.results import Case
from nnunet_fess.study.statistics import MEAN, _corrected, best, comparisons, ranks, runs_needed, summaries


def scores(values, structures=("x",), metric="dice", sizes=("all",)):
    """Cases of {trainer: array (runs, cases, structures)}; runs are seeds of one fold."""
    found = []
    for size in sizes:
        for trainer, array in values.items():
            for seed, run in enumerate(np.asarray(array, float)):
                for number, row in enumerate(run):
                    for structure, value in zip(structures, np.atleast_1d(row), strict=True):
                        name = f"{trainer}-{seed}-{size}"
                        found.append(
                            Case(name, "D", trainer, seed, 0, size, 0, f"case{number:03d}", structure, {metric: float(value)})
                        )
    return found


def draw(generator, mean, runs=3, cases=30, run_sd=0.01, case_sd=0.05, noise=0.01):
    common = np.random.default_rng(7).normal(0, case_sd, cases)
    return mean + generator.normal(0, run_sd, (runs, 1)) + common + generator.normal(0, noise, (runs, cases))


def only(found, **wanted):
    rows = [row for row in found if all(getattr(row, name) == value for name, value in wanted.items())]
    assert len(rows) == 1
    return rows[0]


def test_mean_sd_and_sem_are_over_runs():
    values = [[[0.5], [0.7]], [[0.6], [0.8]], [[0.7], [0.9]]]
    found = only(summaries(scores({"A": values}), ["dice"]), structure="x")
    assert found.mean == pytest.approx(0.7)
    assert found.sd == pytest.approx(0.1)
    assert found.sem == pytest.approx(0.1 / math.sqrt(3))
    assert (found.runs, found.cases, found.undefined) == (3, 2, 0)


def test_the_mean_over_structures_is_nnunets_foreground_mean():
    values = [[[0.5, 0.9], [0.7, np.nan]]]
    found = only(summaries(scores({"A": values}, ("x", "y")), ["dice"]), structure=MEAN)
    assert found.mean == pytest.approx((0.6 + 0.9) / 2)
    assert found.undefined == 1


def test_one_run_has_no_spread():
    found = only(summaries(scores({"A": [[[0.5], [0.7]]]}), ["dice"]), structure="x")
    assert math.isnan(found.sd) and math.isnan(found.sem) and found.runs == 1


def test_what_is_never_defined_has_no_mean():
    found = only(summaries(scores({"A": [[[np.nan]]]}), ["dice"]), structure="x")
    assert math.isnan(found.mean) and math.isnan(found.low) and found.runs == 0 and found.undefined == 1


def test_tests_over_cases_and_runs_are_scipys():
    generator = np.random.default_rng(0)
    a, b, c = (draw(generator, mean) for mean in (0.8, 0.81, 0.8))
    found = comparisons(scores({name: x[..., None] for name, x in (("A", a), ("B", b), ("C", c))}), ["dice"], "A")
    p = []
    for name, x in (("B", b), ("C", c)):
        row = only(found, trainer=name, structure="x")
        apart = (x - a).mean(0)
        p.append(stats.wilcoxon(apart).pvalue)
        assert row.p_cases == pytest.approx(p[-1])
        assert row.p_runs == pytest.approx(stats.ttest_rel(x.mean(1), a.mean(1)).pvalue)
        assert row.sd_runs == pytest.approx((x - a).mean(1).std(ddof=1))
        assert row.difference == pytest.approx(apart.mean())
        assert row.d_z == pytest.approx(apart.mean() / apart.std(ddof=1))
        order = stats.rankdata(abs(apart))
        assert row.rank_biserial == pytest.approx((order[apart > 0].sum() - order[apart < 0].sum()) / order.sum())
        assert (row.cases, row.runs, row.left_out) == (30, 3, 0)
    holm = multipletests(p, method="holm")[1]
    assert [only(found, trainer=name, structure="x").p_cases_holm for name in "BC"] == pytest.approx(list(holm))


def test_more_training_sizes_make_a_larger_family():
    generator = np.random.default_rng(0)
    values = {name: draw(generator, mean)[..., None] for name, mean in (("A", 0.8), ("B", 0.803))}
    one = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    two = comparisons(scores(values, sizes=("all", 8)), ["dice"], "A")
    assert only(two, structure="x", setting=("D", 8, "nnUNetPlans")).p_cases_holm == pytest.approx(min(1, 2 * one.p_cases_holm))


def test_plans_are_compared_each_within_itself_in_one_family():
    generator = np.random.default_rng(0)
    values = {name: draw(generator, mean)[..., None] for name, mean in (("A", 0.8), ("B", 0.803))}
    one = scores(values)
    both = [*one, *(replace(case, plans="other", run=f"{case.run}-other") for case in one)]
    alone, rows = only(comparisons(one, ["dice"], "A"), structure="x"), comparisons(both, ["dice"], "A")
    for setting in (("D", "all", "nnUNetPlans"), ("D", "all", "other")):
        row = only(rows, structure="x", setting=setting)
        assert (row.difference, row.p_cases, row.cases) == (alone.difference, alone.p_cases, alone.cases)
        assert row.p_cases_holm == pytest.approx(min(1, 2 * alone.p_cases_holm))


def test_a_pair_of_which_one_is_undefined_is_left_out_of_both():
    # B finds case 0 only, where it is no better: A's good case 1 must not count against it.
    found = only(
        comparisons(scores({"A": [[[3.0], [1.0]]], "B": [[[3.0], [np.nan]]]}, metric="hd95"), ["hd95"], "A"), structure="x"
    )
    assert found.difference == 0 and found.cases == 1 and found.left_out == 1
    assert (found.low, found.high) == (0, 0)


def test_cases_of_one_patient_are_one_sample():
    generator = np.random.default_rng(0)
    a, b = draw(generator, 0.8, cases=6), draw(generator, 0.83, cases=6)
    doubled = {name: np.repeat(x, 2, 1)[..., None] for name, x in (("A", a), ("B", b))}
    patients = {f"case{number:03d}": f"p{number // 2}" for number in range(12)}
    by_patient = only(comparisons(scores(doubled), ["dice"], "A", patients=patients), structure="x")
    single = only(comparisons(scores({"A": a[..., None], "B": b[..., None]}), ["dice"], "A"), structure="x")
    assert by_patient.cases == single.cases == 6
    assert by_patient.p_cases == pytest.approx(single.p_cases)
    assert by_patient.high - by_patient.low == pytest.approx(single.high - single.low, rel=0.15)
    naive = only(comparisons(scores(doubled), ["dice"], "A"), structure="x")
    assert naive.p_cases < by_patient.p_cases


def test_the_interval_knows_of_runs():
    """Trainings that differ from seed to seed make the interval wide, however many cases there are."""
    generator = np.random.default_rng(1)
    widths = []
    for run_sd in (0.0, 0.05):
        values = {name: draw(generator, 0.8, runs=5, cases=200, run_sd=run_sd)[..., None] for name in "AB"}
        row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
        widths.append(row.high - row.low)
    assert widths[1] > 5 * widths[0]


def test_the_interval_pairs_what_the_test_over_runs_pairs():
    """A seed is the same initial weights and patches for both: what it moves in both moves no difference."""
    generator = np.random.default_rng(5)
    a = draw(generator, 0.7, runs=4, run_sd=0.2, noise=0.001)
    pair = {"A": a[..., None], "B": (a + 0.01)[..., None]}
    row = only(comparisons(scores(pair), ["dice"], "A"), structure="x")
    assert (row.low, row.high) == pytest.approx((0.01, 0.01)) and row.told_apart
    others = [replace(case, seed=case.seed + 7) if case.trainer == "B" else case for case in scores(pair)]
    row = only(comparisons(others, ["dice"], "A"), structure="x")
    assert row.low < -0.1 and row.high > 0.1 and row.runs == 1


@pytest.mark.slow
def test_the_interval_covers_the_truth():
    """About 95 of 100 intervals of a difference of 0 hold it, when both cases and runs are drawn anew."""
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(100):
        values = {name: draw(generator, 0.8, runs=10, cases=20, run_sd=0.02, noise=0.02)[..., None] for name in "AB"}
        row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
        covered += row.low <= 0 <= row.high
    assert covered >= 88


def test_seeds_that_do_not_match_are_paired_by_fold():
    values = {"A": np.full((3, 4, 1), 0.8), "B": np.full((1, 4, 1), 0.9)}
    assert only(comparisons(scores(values), ["dice"], "A"), structure="x").runs == 1


def test_never_says_that_there_is_no_difference():
    generator = np.random.default_rng(3)
    values = {name: draw(generator, 0.8)[..., None] for name in "AB"}
    row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    assert not row.told_apart
    assert row.in_words == f"cannot be told apart; a difference below {row.detectable:.2g} would not have been seen"


def test_few_cases_are_few():
    generator = np.random.default_rng(4)
    values = {name: draw(generator, mean, cases=4)[..., None] for name, mean in (("A", 0.8), ("B", 0.9))}
    row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    assert row.p_cases == 0.125 and not row.told_apart
    assert row.in_words.startswith("perhaps better: the interval leaves out 0, but 4 cases")


def test_one_run_is_one_run():
    generator = np.random.default_rng(4)
    values = {name: draw(generator, mean, runs=1)[..., None] for name, mean in (("A", 0.8), ("B", 0.9))}
    row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    assert row.told_apart and row.better
    assert row.in_words == "better in this one run; whether another training would be, cannot be told"
    assert math.isnan(row.p_runs) and math.isnan(row.sd_runs)


def test_of_a_length_less_is_better():
    generator = np.random.default_rng(5)
    values = {name: draw(generator, mean)[..., None] for name, mean in (("A", 3.0), ("B", 2.0))}
    cases = scores(values, metric="hd95")
    assert only(comparisons(cases, ["hd95"], "A"), structure="x").better
    found = summaries(cases, ["hd95"])
    assert best(found, found[0].setting, "x", "hd95") == "B"


def test_equal_trainers_are_not_told_apart():
    values = {name: np.full((3, 5, 1), 0.8) for name in "AB"}
    row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    assert row.p_cases == row.p_runs == 1 and row.difference == 0 and not row.told_apart
    assert math.isnan(row.rank_biserial)


def test_what_is_detectable_is_so_after_holm():
    """Of more trainers each needs a larger difference; stated for one alone, it would flatter the study."""
    generator = np.random.default_rng(3)
    values = {name: draw(generator, 0.8)[..., None] for name in ("A", *map(str, range(20)))}
    alone = only(comparisons(scores({name: values[name] for name in "A0"}), ["dice"], "A"), structure="x")
    among = only(comparisons(scores(values), ["dice"], "A"), structure="x", trainer="0")
    assert (alone.family, among.family) == (1, 20)
    assert among.difference == alone.difference and among.detectable > 1.3 * alone.detectable


def test_too_few_cases_for_so_many_trainers():
    """Of seven cases Wilcoxon's p is 0.0156 at best: of four trainers none can be found, whatever the difference."""
    generator = np.random.default_rng(0)
    values = {name: generator.uniform(0.5, 0.9, (5, 7, 1)) for name in "ABCDE"}
    words = {row.in_words for row in comparisons(scores(values), ["dice"], "A") if row.low < 0 < row.high}
    assert words == {"cannot be told: 7 cases and 5 runs are too few for 4 comparisons to see any difference for sure"}


def test_no_overlap_differs_by_more_than_one():
    generator = np.random.default_rng(0)
    values = {name: draw(generator, 0.5, runs=2, cases=10, run_sd=0.2)[..., None] for name in "AB"}
    row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    assert row.detectable > 1 and row.in_words.startswith("cannot be told: 10 cases and 2 runs are too few to see")
    lengths = only(comparisons(scores(values, metric="hd95"), ["hd95"], "A"), structure="x")
    assert "would not have been seen" in lengths.in_words


def test_what_does_not_vary_tells_nothing():
    values = {name: np.full((3, 9, 1), 0.8) for name in "AB"}
    row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    assert row.in_words == "cannot be told: each of the 9 cases says the same, which cannot tell what would have been seen"


def test_runs_are_compared_over_what_both_have():
    """B finds no distance in the hard case, which does not make its runs better."""
    generator = np.random.default_rng(1)
    easy = generator.uniform(2, 3, (4, 6, 1))
    hard = np.full((4, 1, 1), 50.0)
    values = {"A": np.concatenate([easy, hard], 1), "B": np.concatenate([easy + 1, hard * np.nan], 1)}
    row = only(comparisons(scores(values, metric="hd95"), ["hd95"], "A"), structure="x")
    assert row.difference == pytest.approx(1) and row.runs == 4
    other = {"A": values["A"], "B": values["B"][:2]}  # other seeds: one pair
    assert only(comparisons(scores(other, metric="hd95"), ["hd95"], "A"), structure="x").runs == 1
    noisy = values | {"B": values["B"] + generator.normal(0, 0.01, (4, 1, 1))}
    row = only(comparisons(scores(noisy, metric="hd95"), ["hd95"], "A"), structure="x")
    by_hand = [float(np.mean(b[:6] - a[:6])) for a, b in zip(noisy["A"], noisy["B"], strict=True)]
    assert row.p_runs == pytest.approx(stats.ttest_1samp(by_hand, 0).pvalue)


def test_who_misses_a_structure_does_not_lead_the_mean():
    """B never finds y: the mean of the rest is no distance that others have to beat."""
    values = {"A": np.full((1, 3, 2), (2.0, 9.0)), "B": np.full((1, 3, 2), (3.0, np.nan))}
    cases = scores(values, ("x", "y"), metric="hd95")
    found = summaries(cases, ["hd95"])
    assert only(found, trainer="B", structure=MEAN).mean == 3
    assert best(found, found[0].setting, MEAN, "hd95") == "A"
    places = ranks(cases, ["hd95"])
    assert [only(places, trainer=name, structure=MEAN).place for name in "AB"] == [1, 2]


def test_who_misses_a_structure_in_a_case_has_no_best_distance():
    """B's distance is smaller, of the one case of two in which it found anything."""
    values = {"A": [[[4.0], [6.0]]], "B": [[[2.0], [np.nan]]], "C": [[[5.0], [7.0]]]}
    found = summaries(scores(values, metric="hd95"), ["hd95"])
    assert [best(found, found[0].setting, structure, "hd95") for structure in ("x", MEAN)] == ["A", "A"]


def test_what_is_said_of_cases_is_of_those_that_both_have():
    generator = np.random.default_rng(8)
    values = {name: draw(generator, mean, run_sd=0.001)[..., None] for name, mean in (("A", 9.0), ("B", 2.0))}
    values["B"][:, :3] = np.nan
    row = only(comparisons(scores(values, metric="hd95"), ["hd95"], "A"), structure="x")
    assert row.left_out == 9 and row.in_words == "better, over the cases in which both are defined and over runs"


def test_large_lengths_are_said_in_digits():
    generator = np.random.default_rng(9)
    values = {name: generator.normal(900, 300, (3, 30, 1)) for name in "AB"}
    row = only(comparisons(scores(values, metric="hd95"), ["hd95"], "A"), structure="x")
    assert row.detectable > 100 and f"below {row.detectable:.0f} would" in row.in_words


def test_what_is_detectable_is_found_four_times_in_five():
    generator = np.random.default_rng(6)
    sd, n = 0.02, 20
    apart = generator.normal(0, sd, 2000 * n).reshape(2000, n)
    values = {
        "A": np.zeros((1, n, 1)),
        "B": (generator.permutation(stats.norm.ppf((np.arange(n) + 0.5) / n)) * sd)[None, :, None],
    }
    row = only(comparisons(scores(values), ["dice"], "A"), structure="x")
    power = np.mean([stats.ttest_1samp(sample + row.detectable, 0).pvalue < 0.05 for sample in apart])
    assert power == pytest.approx(0.8, abs=0.06)


def test_runs_needed_is_found_by_simulation():
    needed = runs_needed(sd=0.02, difference=0.02)
    generator = np.random.default_rng(8)
    power = np.mean([stats.ttest_1samp(generator.normal(0.02, 0.02, needed), 0).pvalue < 0.05 for _ in range(1000)])
    assert power == pytest.approx(0.8, abs=0.05)
    with pytest.raises(ValueError, match="positive"):
        runs_needed(0, 0.1)


def test_ranks_by_hand():
    values = {"A": [[[0.9], [0.9], [0.5]]], "B": [[[0.8], [0.8], [0.6]]], "C": [[[0.1], [np.nan], [0.1]]]}
    found = ranks(scores(values), ["dice"])
    rows = {name: only(found, trainer=name, structure="x") for name in "ABC"}
    assert [rows[name].place for name in "ABC"] == [1, 2, 3]
    assert [rows[name].mean_rank for name in "ABC"] == pytest.approx([4 / 3, 5 / 3, 3])
    assert rows["C"].low == rows["C"].high == 3 and rows["C"].first == 0
    assert 0.5 < rows["A"].first < 1 and rows["A"].first + rows["B"].first == pytest.approx(1)


def test_ranks_of_equals_are_shared():
    found = ranks(scores({name: np.full((1, 4, 1), 0.5) for name in "AB"}), ["dice"])
    assert {row.place for row in found} == {1.5} and {row.first for row in found} == {0.5}


def test_many_trainers_and_classes_take_seconds_not_minutes():
    generator = np.random.default_rng(9)
    values = {f"T{number}": generator.random((3, 40, 4)) for number in range(8)}
    assert len(comparisons(scores(values, ("a", "b", "c", "d")), ["dice"], "T0")) == 7 * 5


def test_cases_of_one_patient_are_one_sample_everywhere():
    """Twins of every case tell nothing new: intervals and ranks stay what they were without them."""

    def scores(copies):
        generator = np.random.default_rng(3)
        values = {trainer: generator.uniform(0.5, 0.9, 6) for trainer in ("A", "B")}
        return [
            Case(trainer, "D", trainer, 0, 0, "all", 0, f"p{number}_{copy}", "one", {"dice": float(value)})
            for trainer in values
            for number, value in enumerate(values[trainer])
            for copy in range(copies)
        ]

    patients = {f"p{number}_{copy}": f"p{number}" for number in range(6) for copy in range(4)}
    for one, four in zip(
        summaries(scores(1), ["dice"], patients=patients), summaries(scores(4), ["dice"], patients=patients), strict=True
    ):
        assert (four.low, four.high) == pytest.approx((one.low, one.high))
    assert ranks(scores(4), ["dice"], patients=patients) == ranks(scores(1), ["dice"], patients=patients)
    (alone,) = [row for row in summaries(scores(4), ["dice"]) if row.trainer == "A" and row.structure == "one"]
    (together,) = [
        row for row in summaries(scores(4), ["dice"], patients=patients) if row.trainer == "A" and row.structure == "one"
    ]
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


@settings(max_examples=15, deadline=None)  # statsmodels takes its time
@given(st.lists(st.one_of(st.just(math.nan), st.floats(0, 1)), max_size=12))
def test_holm_is_statsmodels_of_what_was_tested(p):
    adjusted, tested = _corrected(p), [value for value in p if not math.isnan(value)]
    assert np.isnan(adjusted).tolist() == [math.isnan(value) for value in p]
    expected = multipletests(tested, method="holm")[1] if tested else []
    assert np.allclose(adjusted[~np.isnan(adjusted)], expected, rtol=1e-12)


def by_seed(values, metric="hd95"):
    """{trainer: {case: values of the seeds}} as `scores` takes it."""
    return scores({name: np.array([*cases.values()], float).T[..., None] for name, cases in values.items()}, metric=metric)


def test_seeds_are_paired_before_they_are_averaged():
    """Of case 0 A found the structure with one seed only: B's other seed, a hard one, must not count against B."""
    values = {"A": {"0": (3.0, np.nan), "1": (5.0, 5.0)}, "B": {"0": (4.0, 40.0), "1": (6.0, 6.0)}}
    row = only(comparisons(by_seed(values), ["hd95"], "A"), structure="x")
    assert (row.difference, row.low, row.high) == pytest.approx((1, 1, 1))
    assert (row.left_out, row.cases, row.runs) == (1, 2, 2)
    # The other way round, where the mean of what is defined would turn the sign.
    row = only(comparisons(by_seed(values), ["hd95"], "B"), structure="x")
    assert (row.difference, row.low, row.high) == pytest.approx((-1, -1, -1)) and row.better


def test_seeds_that_cannot_be_paired_are_averaged_where_all_are_defined():
    cases = by_seed({"A": {"0": (3.0, np.nan), "1": (5.0, 7.0)}, "B": {"0": (4.0, 40.0), "1": (6.0, 8.0)}})
    cases = [replace(case, seed=case.seed + 7) if case.trainer == "B" else case for case in cases]
    row = only(comparisons(cases, ["hd95"], "A"), structure="x")
    assert (row.difference, row.left_out, row.cases, row.runs) == (1, 1, 1, 1)
    assert (row.low, row.high) != (1, 1)  # the seeds are drawn apart


@pytest.mark.parametrize("shift", [0.1, 0.3, 1e-5])
def test_rounding_is_no_variation(shift):
    """0.7 + 0.1 and 0.9 + 0.1 are both 0.1 larger, though not to the last bit."""
    a = np.random.default_rng(0).uniform(0.1, 0.6, (3, 20, 1))
    row = only(comparisons(scores({"A": a, "B": a + shift}), ["dice"], "A"), structure="x")
    assert math.isnan(row.p_runs) and math.isnan(row.d_z) and row.detectable == 0
    assert row.p_cases == stats.wilcoxon(np.full(20, shift)).pvalue


def test_who_rightly_predicts_nothing_has_the_best_overlap():
    """A predicts nothing where nothing is, which is undefined; B predicts something, which is a Dice of 0."""
    values = {"A": {"0": (np.nan,), "1": (0.8,)}, "B": {"0": (0.0,), "1": (0.8,)}}
    assert [only(ranks(by_seed(values, "dice"), ["dice"]), trainer=name, structure="x").mean_rank for name in "AB"] == [
        1.25,
        1.75,
    ]


def test_who_misses_more_often_comes_later_whatever_its_distance():
    """With one of two seeds B found nothing; the smaller distance of the other does not make up for it."""
    values = {"A": {"0": (4.0, 4.0)}, "B": {"0": (1.0, np.nan)}, "C": {"0": (np.nan, np.nan)}}
    found = ranks(by_seed(values), ["hd95"])
    assert [only(found, trainer=name, structure="x").place for name in "ABC"] == [1, 2, 3]
    values = {"A": {"0": (4.0,), "1": (4.0,)}, "B": {"0": (1.0,), "1": (np.nan,)}}
    found = ranks(by_seed(values), ["hd95"], patients={"case000": "one", "case001": "one"})
    assert [only(found, trainer=name, structure="x").place for name in "AB"] == [1, 2]


@pytest.mark.parametrize("lacking", ["A", "B", "both"])
def test_the_interval_is_of_the_pairs_that_the_difference_is_of(lacking):
    """A seed that failed in one of two folds of different difficulty is no difference between the trainers."""
    generator = np.random.default_rng(0)
    cases = []
    for fold, level in enumerate((0.9, 0.5)):
        values = {name: level + generator.normal(0, 0.005, (3, 20, 1)) for name in "AB"}
        cases += [replace(case, fold=fold, case=f"{fold}{case.case}") for case in scores(values)]
    gone = {"A": [("A", 1, 2)], "B": [("B", 1, 2)], "both": [("A", 1, 2), ("B", 0, 0)]}[lacking]
    cases = [case for case in cases if (case.trainer, case.fold, case.seed) not in gone]
    row = only(comparisons(cases, ["dice"], "A"), structure="x")
    assert row.low < row.difference < row.high and row.high - row.low < 0.01 and not row.told_apart
