"""How a mistake of the user's is told: every error of ours that a user can cause has this root."""

from __future__ import annotations


class UserError(Exception):
    """Says what was found, what was expected and what to do; a command line prints it without a traceback, exit code 1."""
