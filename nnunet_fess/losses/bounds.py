"""Checks of the numbers that a loss is given: finite, and within bounds. One wording for each kind of bound."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Bounds(TypedDict, total=False):
    """What a number must be: greater than `above`, at least `least`, at most `most`, an integer if `whole`."""

    above: float
    least: float
    most: float
    whole: bool


def check_number(name: str, value: Any, **bounds: Unpack[Bounds]) -> None:
    """Raise ValueError, with the argument's name, unless its value is a finite number within the bounds."""
    wanted = _wanted(value, **bounds)
    if wanted:
        raise ValueError(f"{name} must {wanted}. Got: {value!r}")


def check_numbers(name: str, values: Iterable[Any], what: str = "", **bounds: Unpack[Bounds]) -> tuple[float, ...]:
    """Several numbers out of a list, an array or a tensor.

    Args:
        name: of the argument, for the message.
        values: what was given.
        what: where each of them belongs, for the message: " on every axis".
        bounds: of each of them.

    Raises:
        ValueError: not several, none, or one that `check_number` refuses.
    """
    try:
        given = tuple(values)
    except TypeError:
        given = ()
    if not given:
        raise ValueError(f"{name} must be several numbers{what}. Got: {values!r}")
    for value in given:
        wanted = _wanted(value, **bounds)
        if wanted:
            raise ValueError(f"{name} must {wanted}{what}. Got: {given}")
    return tuple(float(value) for value in given)


def _wanted(
    value: Any, above: float | None = None, least: float | None = None, most: float | None = None, whole: bool = False
) -> str | None:
    """What the value should be; None if it is that."""
    try:
        finite = math.isfinite(operator.index(value) if whole else value)
    except (TypeError, ValueError, OverflowError):  # text, None, many numbers in one
        return "be a whole number" if whole else "be a number"
    right = (above is None or value > above) and (least is None or value >= least) and (most is None or value <= most)
    if finite and right:
        return None
    if most is not None:
        return f"be more than {above:g} and at most {most:g}" if above is not None else f"be between {least:g} and {most:g}"
    if above is not None:
        wanted = "be positive" if above == 0 else f"be more than {above:g}"
    elif least is not None:
        wanted = "not be negative" if least == 0 else f"be at least {least:g}".replace("e-0", "e-")
    else:
        return "be finite"
    return wanted if finite else f"{wanted}{' or infinite' if least == 0 else ' and finite'}"
