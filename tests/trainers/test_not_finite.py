from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from nnunet_fess.trainers.not_finite import IN_A_ROW, NotFinite

NETWORK = nn.Linear(2, 2)
BAD = {"spatial": torch.tensor(math.nan), "dc": torch.tensor(1.0), "cwce": torch.tensor(math.inf)}


def run(losses: list[float], watch: NotFinite | None = None) -> list[str]:
    watch = watch or NotFinite()
    return [said for loss in losses if (said := watch.step(loss, BAD, NETWORK))]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_ten_in_a_row_are_told_once(value):
    (said,) = run([1.0, *[value] * 3 * IN_A_ROW, 1.0, *[value] * IN_A_ROW])
    assert f"in {IN_A_ROW} training steps in a row the loss was NaN or infinite" in said


def test_a_few_are_normal_with_mixed_precision():
    assert run([*[math.nan] * (IN_A_ROW - 1), 1.0] * 3) == []


def test_names_the_term():
    (said,) = run([math.nan] * IN_A_ROW)
    assert "It began with: spatial, cwce." in said


def test_the_term_is_that_of_the_first_step_before_the_weights_were_lost():
    watch = NotFinite()
    watch.step(math.nan, {"one": torch.tensor(math.nan), "two": torch.tensor(1.0)}, NETWORK)
    (said,) = run([math.nan] * IN_A_ROW, watch)
    assert "It began with: one." in said


def test_tells_whether_the_weights_are_lost():
    lost = nn.Linear(2, 2)
    nn.init.constant_(lost.bias, math.nan)
    watch = NotFinite()
    said = [watch.step(math.nan, {}, lost) for _ in range(IN_A_ROW)][-1]
    assert "cannot recover" in said
    assert "still finite" in run([math.nan] * IN_A_ROW)[0]


def test_an_epoch_shorter_than_that_is_told_where_it_ends():
    watch = NotFinite()
    assert run([math.nan] * 3, watch) == []
    assert "in every training step of the epoch" in watch.close_epoch(NETWORK)
    assert watch.close_epoch(NETWORK) is None


def test_a_finite_epoch_ends_without_a_word():
    watch = NotFinite()
    run([math.nan, 1.0], watch)
    assert watch.close_epoch(NETWORK) is None
