"""How a training that cannot work ends: with one clear line, since nnU-Net's command line is the only caller."""

from __future__ import annotations


class TrainingRefused(SystemExit):
    """Ends the nnU-Net command with its message on stderr and exit code 1 instead of a traceback.

    A `SystemExit`, because nnU-Net does not catch our exceptions and a user's mistake must not print forty lines of its stack.
    """
