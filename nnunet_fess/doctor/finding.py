"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["fine", "warning", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor; what others say in several is joined.

    Attributes:
        check: what was looked at.
        level: fine; a warning, which lets trainings run; or wrong, which does not.
        found: what was found.
        advice: what to do; empty if nothing.
    """

    check: str
    level: Level
    found: str
    advice: str = ""

    def __post_init__(self) -> None:
        """Messages of packages and plug-ins may have line ends in them."""
        for field in ("check", "found", "advice"):
            object.__setattr__(self, field, " ".join(getattr(self, field).splitlines()))


def fine(check: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(check, "fine", found)


def warning(check: str, found: str, advice: str) -> Finding:
    """Trainings run, with a disadvantage."""
    return Finding(check, "warning", found, advice)


def wrong(check: str, found: str, advice: str) -> Finding:
    """Something that people need will fail."""
    return Finding(check, "wrong", found, advice)
