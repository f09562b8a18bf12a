"""Figures show what they are given, and stay readable in grey and with many trainers."""

import itertools
import math

import numpy as np
import pytest
from PIL import Image

from nnunet_fess.study import figures
from nnunet_fess.study.results import Case
from nnunet_fess.study.statistics import Setting, Summary


def case(trainer, name, value, structure="x", metric="dice"):
    return Case(f"{trainer}-0", "D", trainer, 0, 0, "all", 0, name, structure, {metric: value})


def summary(trainer, size, mean, sem=0.01):
    return Summary(Setting("D", size), trainer, "mean", "dice", mean, sem, sem, 0, 1, 3, 10, 0)


def texts(figure):
    found = [text.get_text() for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
    return found + [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_no_two_styles_are_alike():
    look = list(figures.styles([f"t{number}" for number in range(40)]).values())
    assert len(set(look)) == 40


def test_neighbouring_colours_differ_in_grey():
    def lightness(colour):
        red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
        return 0.299 * red + 0.587 * green + 0.114 * blue

    values = [lightness(colour) for colour in figures.COLOURS]
    assert all(abs(a - b) > 0.05 for a, b in itertools.pairwise(values))


def test_boxes_hold_what_is_defined():
    cases = [case("A", f"c{number}", value) for number, value in enumerate([0.1, 0.2, 0.3, math.nan])] + [
        case("B", "c0", math.nan)
    ]
    figure = figures.box_plots(cases, ["A", "B"], ["x"], "dice", "title")
    (panel,) = [axes for axes in figure.axes if axes.get_visible()]
    assert panel.get_title() == "x (n = 0 to 3)"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["A", "B (0)"]
    assert panel.yaxis_inverted()


def test_a_learning_curve_is_over_the_number_of_cases():
    rows = [summary("A", "all", 0.9), summary("A", 8, 0.8), summary("B", "all", 0.7), summary("B", 8, math.nan)]
    figure = figures.learning_curves(rows, {"all": 40, 8: 8}, ["A", "B"], "A", "dice", "mean")
    (panel,) = figure.axes
    lines = {container.get_label(): container.lines[0].get_xydata().tolist() for container in panel.containers}
    assert lines == {"A": [[8, 0.8], [40, 0.9]], "B": [[40, 0.7]]}


def test_many_trainers_get_panels_of_their_own():
    names = [f"T{number}" for number in range(10)]
    rows = [summary(name, size, 0.5) for name in names for size in ("all", 8)]
    figure = figures.learning_curves(rows, {"all": 40, 8: 8}, names, "T0", "dice", "mean")
    assert sum(axes.get_visible() for axes in figure.axes) == 9


def test_curves_get_a_panel_each_and_one_legend():
    curves = {"A": {"loss": {0: 1.0, 1: 0.5}}, "B": {"loss": {0: 1.0}, "Dice": {0: 0.1}}}
    found = texts(figures.curve_panels(curves, "title"))
    assert found.count("A") == found.count("B") == 1 and "loss" in found and "Dice" in found


def test_cost_against_score_names_every_trainer():
    rows = [summary("A", "all", 0.9), summary("B", "all", 0.8)]
    found = texts(figures.cost_against_score({"A": 1.0, "B": 2.0}, rows, "dice", "mean"))
    assert {"A", "B", "minutes per run", "Dice, mean"} <= set(found)


@pytest.mark.parametrize(("metric", "lower", "expected"), [("dice", False, ["b", "c"]), ("hd95", True, ["b", "a"])])
def test_median_and_worst_case(metric, lower, expected):
    cases = [case("A", name, value, metric=metric) for name, value in (("a", 0.9), ("b", 0.8), ("c", 0.1))]
    assert figures.median_and_worst(cases, metric, lower) == expected
    assert figures.median_and_worst([case("A", "a", math.nan)], "dice", False) == []


def test_a_figure_is_saved_as_a_picture(tmp_path):
    figures.save(figures.curve_panels({"A": {"loss": {0: 1.0}}}, "t"), tmp_path / "a.png")
    assert np.asarray(Image.open(tmp_path / "a.png")).std() > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("number", [2, 7, 40])
def test_long_names_leave_room_for_what_they_name(number):
    """A legend takes none of the panel's room: the figure grows."""
    names = [f"nnUNetTrainerYhdenPitkänNimenMukaan{n}_noSmooth" for n in range(number)]
    rows = [summary(name, "all", 0.5) for name in names]
    for figure in (
        figures.cost_against_score(dict.fromkeys(names, 3.0), rows, "dice", "mean"),
        figures.by_plans(rows, names, "dice", "mean"),
        figures.curve_panels({name: {"training loss": {0: 1.0, 1: 0.5}} for name in names}, "Training"),
    ):
        figure.draw_without_rendering()
        (panel, *_) = figure.axes
        box = panel.get_window_extent()
        legend = figure.legends[0].get_window_extent()
        assert len({text.get_text() for text in figure.legends[0].get_texts()}) == number
        assert box.width > 150 and box.height > 150
        assert not box.overlaps(legend)
        assert legend.x0 >= 0 and legend.y0 >= 0 and legend.x1 <= figure.bbox.x1 + 1 and legend.y1 <= figure.bbox.y1 + 1


def test_without_a_point_there_is_no_legend():
    figure = figures.cost_against_score({"A": 1.0}, [summary("A", "all", math.nan)], "dice", "mean")
    assert not figure.legends


def test_names_are_no_formulas(tmp_path):
    r"""`$\foo$` would be an unknown command of a formula, and no report."""
    with figures.as_written():
        scores = [case("a_$b$", "1", 0.5, r"$\foo$ ^_ 50 %"), case("a_$b$", "2", 0.6, r"$\foo$ ^_ 50 %")]
        figure = figures.box_plots(scores, ["a_$b$"], [r"$\foo$ ^_ 50 %"], "dice", "$x_$")
    figures.save(figure, tmp_path / "a.png")
    assert r"$\foo$ ^_ 50 % (n = 2)" in texts(figure)
