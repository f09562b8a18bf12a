from __future__ import annotations

import csv

import pytest
import torch
from torch import nn

from nnunet_fess.trainers.components import CSV_NAME, FIGURE_NAME, Components, SubTerms


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value)


def test_a_row_is_the_mean_over_the_steps():
    components = Components()
    for value in (1.0, 2.0, 6.0):
        components.add("spatial", scalar(value))
    assert components.close_epoch(4, share=0.5) == {"epoch": 4, "spatial": 3, "share": 0.5}


def test_steps_before_a_term_is_defined_do_not_count():
    components = Components()
    for step in range(3):
        components.add("spatial", scalar(1.0))
        if step:
            components.add("feature", scalar(4.0))
    assert components.close_epoch(0)["feature"] == 4


def test_an_epoch_that_is_done_again_replaces_its_row():
    components = Components()
    for epoch in (0, 1, 2, 1):
        components.close_epoch(epoch)
    assert [row["epoch"] for row in components.history] == [0, 1]


def test_the_table_has_every_column_of_every_epoch(tmp_path):
    components = Components()
    components.add("spatial", scalar(1.5))
    components.close_epoch(0)
    components.add("spatial", scalar(0.5))
    components.add("feature", scalar(0.25))
    components.close_epoch(1)
    components.write(tmp_path)
    with (tmp_path / CSV_NAME).open() as file:
        assert list(csv.reader(file)) == [["epoch", "spatial", "feature"], ["0", "1.5", ""], ["1", "0.5", "0.25"]]


def test_the_figure_is_a_picture(tmp_path):
    components = Components()
    components.add("spatial", scalar(1.5))
    components.close_epoch(0)
    components.write(tmp_path)
    assert (tmp_path / FIGURE_NAME).read_bytes().startswith(b"\x89PNG")


def test_the_history_survives_a_checkpoint():
    components, restored = Components(), Components()
    components.close_epoch(0, share=1.0)
    restored.load_state_dict(components.state_dict())
    assert restored.history == components.history


class Two(nn.Module):
    """Like nnU-Net's compound losses: two parts, of which one may be left out."""

    def __init__(self):
        super().__init__()
        self.dc, self.ce = nn.Identity(), nn.Identity()

    def forward(self, value, with_ce=True):
        return self.dc(value) + (self.ce(2 * value) if with_ce else 0)


def test_sub_terms_are_summed_over_the_scales_with_their_weights():
    components, loss = Components(), Two()
    SubTerms(loss, [0.75, 0.25], components)
    for value in (1.0, 2.0, 3.0, 4.0):  # two steps of two scales
        loss(scalar(value))
    row = components.close_epoch(0)
    assert row["dc"] == pytest.approx((0.75 * 1 + 0.25 * 2 + 0.75 * 3 + 0.25 * 4) / 2)
    assert row["ce"] == pytest.approx(2 * row["dc"])


def test_a_part_that_is_left_out_at_one_scale_does_not_shift_the_others():
    components, loss = Components(), Two()
    SubTerms(loss, [0.75, 0.25], components)
    loss(scalar(1.0), with_ce=False)
    loss(scalar(1.0))
    assert components.close_epoch(0)["ce"] == 0.25 * 2


def test_validation_is_not_recorded():
    components, loss = Components(), Two()
    SubTerms(loss, [1.0], components)
    with torch.no_grad():
        loss(scalar(1.0))
    assert components.close_epoch(0) == {"epoch": 0}
