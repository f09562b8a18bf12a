from __future__ import annotations

import math

import matplotlib
import pytest

from nnunet_fess.trainers.components_figure import draw


def history(epochs: int, *names: str) -> list[dict[str, float]]:
    return [{"epoch": float(epoch), **{name: 1.0 + number for number, name in enumerate(names)}} for epoch in range(epochs)]


def titles(figure) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_the_spatial_loss_and_its_parts_share_a_panel():
    figure = draw(history(3, "spatial", "dc", "ce", "feature"), ["dc", "ce"], "nnUNetTrainerFESSDiceCE")
    assert titles(figure) == ["loss, mean over an epoch", "feature term, last epoch: 4"]
    legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert legend == ["spatial (the sum): 1", "dc: 2", "ce: 3"]


def test_weights_that_change_share_a_panel():
    figure = draw(history(3, "spatial", "weight_Dice", "weight_RW", "lambda"), [], "")
    assert titles(figure) == ["spatial loss, last epoch: 1", "weights"]


def test_a_long_name_is_broken_between_its_options():
    name = "nnUNetTrainerFESSDiceCE_lambda0p8_temp0p1_eta1em4_1000epochs_250iters_50valiters_seed3_noMirroring"
    lines = draw(history(3, "spatial"), [], name).get_suptitle().split("\n")
    assert "".join(lines) == name
    assert len(lines) == 2


def test_names_the_trainer_and_the_epochs():
    figure = draw(history(3, "spatial"), [], "nnUNetTrainerCE_3epochs")
    assert figure.get_suptitle() == "nnUNetTrainerCE_3epochs"
    assert figure.axes[-1].get_xlabel() == "epoch"


def test_no_two_series_look_alike():
    parts = [f"part{number}" for number in range(15)]
    lines = draw(history(3, "spatial", *parts), parts, "").axes[0].lines
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 16


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1.0, 0.5], "linear"),
        ([1.0, 0.01], "log"),
        ([-0.9, 0.01], "linear"),
        ([math.nan, 1.0], "linear"),
        ([0.0, 1.0], "linear"),
    ],
)
def test_a_logarithmic_axis_where_sizes_differ(values, scale):
    rows = [{"epoch": float(epoch), "spatial": value} for epoch, value in enumerate(values)]
    assert draw(rows, [], "").axes[0].get_yscale() == scale


def test_rejected_embeddings_are_drawn_when_there_are_any():
    rows = history(2, "spatial")
    assert len(draw([row | {"rejected_embeddings": 0.0} for row in rows], [], "").axes) == 1
    assert len(draw([row | {"rejected_embeddings": 4.0} for row in rows], [], "").axes) == 2


@pytest.mark.parametrize("rows", [[], [{"epoch": 0.0}], [{"epoch": 0.0, "spatial": math.inf, "feature": math.nan}]])
def test_draws_what_there_is(rows, tmp_path):
    draw(rows, [], "nnUNetTrainerCE").savefig(tmp_path / "figure.png")


def test_settings_that_nnunets_progress_png_leaves_behind_do_not_count():
    with matplotlib.rc_context({"font.size": 40, "axes.facecolor": "red"}):
        axes = draw(history(2, "spatial"), [], "").axes[0]
    assert axes.get_facecolor() == (1, 1, 1, 1)
    assert axes.yaxis.get_ticklabels()[0].get_fontsize() < 15
