"""How a training that cannot work, and a name that cannot be read, end: with one clear message."""

from __future__ import annotations

from nnunet_fess.errors import UserError


class TrainingRefused(UserError):
    """Ends nnU-Net's command with its message alone and exit code 1 (`nnunet_fess.search` sees to that)."""


class NotSupported(TrainingRefused, NotImplementedError):
    """What nnU-Net can and this trainer cannot: nnU-Net asks extensions for NotImplementedError, before the first epoch."""


class NameRefused(UserError, ValueError):
    """A trainer's name that begins like one of ours and goes on wrongly; the message says what to write where that is clear.

    Attributes:
        advice: what to write.
    """

    def __init__(self, message: str, advice: str | None = None):
        super().__init__(message)
        self.advice = advice


class NotOurs(NameRefused):
    """The name belongs to nnU-Net or to another extension."""
