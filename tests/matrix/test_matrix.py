"""Every cell as nnU-Net's command line runs it: few in each CI, all at night. In `test_cells.py` every pair takes a step."""

from __future__ import annotations

import pytest
from matrix.cells import covering, every_cell
from matrix.host import NUMBERS
from matrix.rest import STEPS, Rest
from matrix.trainings import run_cell

# The first of the chosen cells hold most pairs; CI has no time for more.
IN_CI = set(covering()[:8])


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(cell, id=str(cell), marks=pytest.mark.slow if cell in IN_CI else pytest.mark.nightly)
        for cell in every_cell()
    ],
)
def test_train_validate_predict(host, cell):
    run_cell(host, cell)


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=pytest.mark.slow if kind == "regions and ignore" else pytest.mark.nightly) for kind in NUMBERS],
)
def test_the_rest_of_nnunets_commands(host, kind):
    assert list(Rest(host, kind).run()) == list(STEPS)
