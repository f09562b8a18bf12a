"""The simulated queue against what can be told by hand."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).resolve().parents[2] / "benchmarks" / "scaling.py"
spec = importlib.util.spec_from_file_location("scaling", PATH)
scaling = importlib.util.module_from_spec(spec)
spec.loader.exec_module(scaling)


def test_by_hand():
    start = scaling.START
    assert scaling.simulate([100] * 4, 1)["seconds"] == 4 * (100 + start)
    assert scaling.simulate([100] * 4, 2, before=10, after=20)["seconds"] == 30 + 2 * (100 + start)
    assert scaling.simulate([100, 40, 60], 100)["seconds"] == 100 + start  # no faster than the longest
    assert scaling.simulate([100] * 4, 2)["share of the GPUs' time"] == 1


def test_a_limit_costs_a_start_and_a_wait_for_every_slice():
    start, requeue = scaling.START, scaling.REQUEUE
    found = scaling.simulate([250], 1, limit=200 + start, lead=100)
    assert found["seconds"] == pytest.approx(250 + 3 * start + 2 * requeue)
    with pytest.raises(ValueError, match="leaves no time for training"):
        scaling.simulate([250], 1, limit=90, lead=100)


def test_waiting_is_the_same_for_the_same_seed():
    one, other = (scaling.simulate([100] * 9, 3, wait=50, seed=seed)["seconds"] for seed in (1, 2))
    assert one == scaling.simulate([100] * 9, 3, wait=50, seed=1)["seconds"] != other
