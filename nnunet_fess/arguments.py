"""Command-line arguments: help that stays as written, and types whose messages say what was expected."""

from __future__ import annotations

import argparse
import difflib
import math
from collections.abc import Callable
from typing import Any

from nnunet_fess.errors import did_you_mean


class _Parser(argparse.ArgumentParser):
    """Says of a misspelt word which one was meant."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        near = difflib.get_close_matches(str(value).lower(), names, n=2)
        raise argparse.ArgumentError(action, f"there is no {value!r}.{did_you_mean(near)} There are: {', '.join(names)}")


def parser(prog: str, description: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """A parser that shows description and epilog with the line breaks they have: commands in them can be copied."""
    return _Parser(prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """An argparse type: a whole number from `low` to `high`."""
    wanted = f"a whole number from {low} to {high}" if high is not None else f"a whole number, {low} or more"

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if number < low or (high is not None and number > high):
            raise argparse.ArgumentTypeError(f"{wanted} expected, got {text!r}")
        return number

    return convert


def whole_numbers(low: int) -> Callable[[str], list[int]]:
    """An argparse type: whole numbers of at least `low`, set apart by commas."""
    one = whole_number(low)

    def convert(text: str) -> list[int]:
        try:
            return [one(part) for part in text.split(",")]
        except argparse.ArgumentTypeError:
            raise argparse.ArgumentTypeError(
                f"whole numbers of {low} or more with commas between them expected, such as 48,48,32; got {text!r}"
            ) from None

    return convert


def fraction(text: str) -> float:
    """An argparse type: a number from 0 on and below 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"a number from 0 on and below 1 expected, got {text!r}")
    return value
