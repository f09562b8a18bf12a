from __future__ import annotations

import math

import pytest
import torch

from nnunet_fess.losses.feature.contrast import contrast, similarities


def mask(*rows: str) -> torch.Tensor:
    return torch.tensor([[letter == "x" for letter in row] for row in rows])


def test_one_partner_and_one_rival_are_a_logistic_loss():
    value = contrast(torch.tensor([[2.0, 0.5]]), mask("x."), mask(".x"))
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1.5)))


def test_what_is_neither_partner_nor_rival_counts_nothing():
    scores = torch.tensor([[2.0, 0.5, 9.0]], requires_grad=True)
    value = contrast(scores, mask("x.."), mask(".x."))
    value.backward()
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1.5)))
    assert scores.grad[0, 2] == 0


def test_the_mean_is_over_rows_with_partner_and_rival():
    scores = torch.tensor([[2.0, 0.5], [7.0, 7.0], [7.0, 7.0]])
    value = contrast(scores, mask("x.", "xx", ".."), mask(".x", "..", "xx"))
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1.5)))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 2)])
def test_where_nothing_is_to_be_contrasted_value_and_gradient_are_zero(shape):
    scores = torch.ones(shape, requires_grad=True)
    nobody = torch.zeros(shape, dtype=torch.bool)
    value = contrast(scores, nobody, ~nobody)
    value.backward()
    assert value.item() == 0
    assert not scores.grad.any()


def test_similarities_are_cosines_over_the_temperature():
    rows = torch.tensor([[3.0, 0.0], [1.0, 1.0]])
    scores, same = similarities(rows, torch.tensor([4, 5]), 0.5, torch.tensor([[0.0, 2.0]]), torch.tensor([5]))
    half = 2 * math.sqrt(0.5)
    torch.testing.assert_close(scores, torch.tensor([[2, half, 0], [half, 2, half]]))
    assert same.tolist() == [[True, False, False], [False, True, True]]
