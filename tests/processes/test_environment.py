from __future__ import annotations

import os

import pytest

from nnunet_fess.processes.environment import variables


def test_what_was_there_comes_back_and_what_was_not_goes(monkeypatch):
    monkeypatch.setenv("THERE", "before")
    monkeypatch.delenv("NEW", raising=False)
    with pytest.raises(ArithmeticError), variables({"THERE": "now", "NEW": "now"}):
        assert (os.environ["THERE"], os.environ["NEW"]) == ("now", "now")
        raise ArithmeticError
    assert os.environ["THERE"] == "before"
    assert "NEW" not in os.environ


def test_a_variable_that_the_block_takes_away_is_no_trouble(monkeypatch):
    monkeypatch.delenv("NEW", raising=False)
    with variables({"NEW": "now"}):
        del os.environ["NEW"]
    assert "NEW" not in os.environ
