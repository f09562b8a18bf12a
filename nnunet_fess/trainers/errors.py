"""How a training that cannot work, and a name that cannot be read, end: with one clear message."""

from __future__ import annotations

from nnunet_fess.errors import UserError


class TrainingRefused(SystemExit):
    """Ends the nnU-Net command with its message on stderr and exit code 1 instead of a traceback.

    A `SystemExit`, because nnU-Net does not catch our exceptions and a user's mistake must not print forty lines of its stack.
    """


class NameRefused(UserError, ValueError):
    """A trainer's name that begins like one of ours and goes on wrongly; the message says what to write where that is clear."""


class NotOurs(NameRefused):
    """The name belongs to nnU-Net or to another extension."""
