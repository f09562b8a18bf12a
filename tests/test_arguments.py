from __future__ import annotations

import argparse

import pytest

from nnunet_fess.arguments import fraction, parser, whole_number, whole_numbers


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (whole_number(1), "3", 3),
        (whole_number(0, 5), "0", 0),
        (whole_numbers(1), "48,48,32", [48, 48, 32]),
        (whole_numbers(1), "7", [7]),
        (fraction, "0", 0.0),
        (fraction, "0.2", 0.2),
    ],
)
def test_good_values(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (whole_number(1), "0", "a whole number, 1 or more expected, got '0'"),
        (whole_number(1), "x", "a whole number, 1 or more expected, got 'x'"),
        (whole_number(1), "1.5", "got '1.5'"),
        (whole_number(0, 5), "6", "a whole number from 0 to 5 expected"),
        (whole_numbers(1), "48,,48", "with commas between them"),
        (whole_numbers(1), "", "with commas between them"),
        (whole_numbers(1), "48,0", "of 1 or more"),
        (fraction, "1", "below 1 expected, got '1'"),
        (fraction, "nan", "got 'nan'"),
        (fraction, "a", "got 'a'"),
    ],
)
def test_a_bad_value_is_told_what_was_expected(kind, text, message, capsys):
    arguments = parser("prog", "What it does.")
    arguments.add_argument("--option", type=kind)
    with pytest.raises(SystemExit) as exit_:
        arguments.parse_args(["--option", text])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert "invalid" not in error  # argparse's "invalid _f value" would name our function


def test_help_keeps_the_lines_it_was_written_in(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    text = 'for bash:  eval "$(nnunet_fess env)"   or longer than forty columns\nsecond line'
    assert text in parser("prog", "What it does.", text).format_help()
    assert isinstance(parser("prog", "x"), argparse.ArgumentParser)


def test_a_misspelt_choice_is_told_what_was_meant(capsys):
    made = parser("prog", "text")
    made.add_argument("dataset", choices=["amos22", "brats2017"])
    with pytest.raises(SystemExit) as caught:
        made.parse_args(["brats2071"])
    assert caught.value.code == 2
    assert "there is no 'brats2071'. Did you mean brats2017? There are: amos22, brats2017" in capsys.readouterr().err
