"""What a user can get wrong, told in one line."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_fess.errors import UserError


class ConversionError(UserError):
    """A mistake of the user's or a defect of the data: says what was found, what was expected and what to do."""


class NothingFoundError(ConversionError):
    """The download that was asked for is not there."""


@dataclass(frozen=True, order=True)
class Problem:
    """One defect of one case.

    Attributes:
        case: the nnU-Net case identifier, or "-" where the defect is not one case's.
        file: path relative to its SOURCE, or "-".
        message: what was found, what was expected, what to do.
    """

    case: str
    file: str
    message: str


def table(problems: list[Problem]) -> str:
    """The problems as an aligned text table, sorted by case."""
    rows = [("case", "file", "problem"), *((p.case, p.file, p.message) for p in sorted(problems))]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{case:<{widths[0]}}  {file:<{widths[1]}}  {message}" for case, file, message in rows)
