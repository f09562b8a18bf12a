from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from nnunet_fess import streams
from nnunet_fess.errors import UserError


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("λ = 0.5 – Σ Δ η", "ascii", "lambda = 0.5 - Sigma Delta eta"),
        ("“64³ × 2” … ≤ 3 → 4", "ascii", '"64^3 x 2" ... <= 3 -> 4'),
        ("64³ ≤ λ – “x”", "cp1252", "64³ <= lambda – “x”"),  # what the code page has stays
        ("λ·é", "cp437", "lambda·é"),
        ("/Müller/θ/日", "ascii", r"/M\xfcller/theta/\u65e5"),
        ("/undecodable/\udcff", "utf-8", r"/undecodable/\udcff"),
    ],
)
def test_what_an_encoding_lacks_is_spelt(monkeypatch, text, encoding, expected):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    streams.make_readable()
    print(text, end="", flush=True)
    assert written.getvalue().decode(encoding) == expected


def test_a_stream_that_is_none_or_cannot_be_reconfigured_stays(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    streams.make_readable()


@pytest.mark.skipif(os.name != "posix", reason="bytes are paths on POSIX only")
@pytest.mark.parametrize("path", [b"/M\xc3\xbcller", b"/latin-1/M\xfcller"])
def test_exact_output_is_the_paths_own_bytes_whatever_the_encoding(path):
    code = "import os, sys; from nnunet_fess.streams import *; make_readable(); print_exactly(os.fsdecode(eval(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, repr(path)], capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.stdout == path + b"\n"


def test_exact_output_that_the_encoding_cannot_spell_is_refused_on_windows(monkeypatch):
    monkeypatch.setattr(streams, "_PATHS_ARE_BYTES", False)
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp437"))
    with pytest.raises(UserError, match="cp437"):
        streams.print_exactly("C:\\λ")


def test_progress_away_from_a_terminal_is_lines_without_control_characters(monkeypatch, capsys):
    monkeypatch.setattr(streams, "_PAUSE", 0.0)
    assert list(streams.progress(iter("ab"), "check", 2)) == ["a", "b"]
    assert capsys.readouterr().err == "check: 1 of 2 cases\ncheck: 2 of 2 cases\n"


def test_progress_is_silent_while_there_is_no_news(capsys):
    list(streams.progress(range(1000), "check", 1000))
    assert capsys.readouterr().err == "check: 1000 of 1000 cases\n"


def test_progress_on_a_terminal_is_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(streams, "_is_terminal", lambda stream: True)
    assert list(streams.progress("ab", "check", 2)) == ["a", "b"]
    assert "100%" in capsys.readouterr().err
