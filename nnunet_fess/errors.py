"""How a mistake of the user's is told."""

from __future__ import annotations


class UserError(Exception):
    """Says what was found, what was expected and what to do; the command line prints it without a traceback."""
