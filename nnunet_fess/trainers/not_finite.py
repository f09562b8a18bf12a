"""Notices a training whose loss is not finite, whatever its terms are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

IN_A_ROW = 10


class NotFinite:
    """Tells once that the loss was not finite for `IN_A_ROW` steps in a row, or for a whole epoch, and which term it was.

    A term's name is taken where it begins: after one update with a NaN gradient all terms are NaN.
    """

    def __init__(self) -> None:
        self._said = False
        self._in_a_row = self._steps = self._finite = 0
        self._terms: list[str] = []

    def step(self, loss: float, terms: Mapping[str, Tensor], network: nn.Module) -> str | None:
        """Take one step's loss.

        Args:
            loss: of the step.
            terms: name → value of the loss's terms, of the same step; read only where a streak begins.
            network: the one that trains.

        Returns:
            what to tell the user, mostly nothing.
        """
        self._steps += 1
        if math.isfinite(loss):
            self._in_a_row = 0
            self._finite += 1
            return None
        if self._in_a_row == 0:
            self._terms = [name for name, value in terms.items() if not torch.isfinite(value).all()]
        self._in_a_row += 1
        return self._report(f"in {IN_A_ROW} training steps in a row", network) if self._in_a_row == IN_A_ROW else None

    def close_epoch(self, network: nn.Module) -> str | None:
        """Look back at an epoch, which may be shorter than the streak that counts."""
        lost = self._steps > 0 and self._finite == 0
        self._steps = self._finite = 0
        return self._report("in every training step of the epoch", network) if lost else None

    def _report(self, where: str, network: nn.Module) -> str | None:
        if self._said:
            return None
        self._said = True
        which = f" It began with: {', '.join(self._terms)}." if self._terms else ""
        if all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
            state = "The network's weights are still finite, but nothing is learnt in such steps."
        else:
            state = "The network's weights are not finite either: this training cannot recover, stop it."
        return (
            f"WARNING: {where} the loss was NaN or infinite.{which} {state} Look for NaN and infinity in the "
            "preprocessed images; if there are none, give that term less weight or take another."
        )
