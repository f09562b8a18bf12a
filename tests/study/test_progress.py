"""A line per running job on a terminal, nothing but news elsewhere."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from nnunet_fess.study.progress import Board, duration, overview
from nnunet_fess.study.results import Run, Step


class Terminal(io.StringIO):
    def isatty(self):
        return True


def _run(name, status, seconds=0.0):
    run = Run(name, "D", "c", "p", "t", "n", 0, 0, "all", 0, 0, 5)
    return replace(run, status=status, steps=(Step("x", "2026", seconds),))


def test_lines_replace_each_other_and_news_stay(monkeypatch):
    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)
    board = Board()
    board.show(["1 of 3", "  a: epoch 1"])
    board.news("  done  a")
    board.show(["2 of 3"])
    shown = out.getvalue()
    assert shown == "1 of 3\n  a: epoch 1\n\x1b[2F\x1b[J  done  a\n2 of 3\n"


def test_nothing_is_redrawn_where_there_is_no_terminal(capsys):
    board = Board()
    assert not board.due()
    board.show(["1 of 3"])
    board.news("  done  a")
    assert capsys.readouterr().out == "  done  a\n"


def test_the_overview_counts_and_estimates():
    runs = [_run("a", "finished", 600), _run("b", "failed", 5), _run("c", "running")]
    text = overview(runs, {"c": 300.0}, 1, 5)
    assert text == "1 of 5 runs done, 1 failed, 1 running, 2 waiting, about 25 min left"
    assert "left" not in overview(runs[1:], {"c": None}, 1, 5)


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (89, "89 s"), (95, "2 min"), (5400, "1 h 30 min"), (86400, "24 h 0 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
