"""How a mistake of the user's is told: every error of ours that a user can cause has this root."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(Exception):
    """Says what was found, what was expected and what to do; a command line prints it without a traceback, exit code 1."""


def did_you_mean(names: Sequence[str]) -> str:
    """What a message says of names that are like the wrong one: a sentence with a space before it; nothing of none."""
    return f" Did you mean {' or '.join(names)}?" if names else ""
