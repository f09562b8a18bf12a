"""The former name of `nnunet_fess.testing.ranks`."""

from nnunet_fess.testing.ranks import RANKS, run_on_two_ranks

__all__ = ["RANKS", "run_on_two_ranks"]
