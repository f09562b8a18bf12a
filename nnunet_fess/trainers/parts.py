"""The parts of a spatial loss: read off its calls, scale by scale, so that they add up to what it returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from torch import Tensor, nn

# The factors by which nnU-Net's compound losses add their children up.
_NNUNET_WEIGHTS = {"dc": "weight_dice", "ce": "weight_ce"}


class Parts:
    """Reads the parts of a spatial loss while `record` is open; a look at the loss at another time is not counted.

    A loss of one scale tells its parts by an attribute `latest`, name → scalar, which add up to what it returned last. Of one
    without, every direct child that returns a scalar is a part, as nnU-Net's `dc` and `ce`.

    Args:
        spatial: the loss, nnU-Net's deep supervision around it or not.
    """

    def __init__(self, spatial: nn.Module):
        self._weights: Sequence[float] = [1.0]
        self._scale = 0
        self._parts: dict[str, Tensor] | None = None
        loss: Any = spatial
        if isinstance(spatial, DeepSupervisionWrapper):
            factors: Sequence[float] = spatial.weight_factors
            self._weights = [float(factor) for factor in factors if factor != 0]
            loss = spatial.loss
        if not isinstance(loss, nn.Module):  # any callable is a loss for nnU-Net
            return
        if not hasattr(loss, "latest"):
            for name, child in loss.named_children():
                child.register_forward_hook(partial(self._child, name, getattr(loss, _NNUNET_WEIGHTS.get(name, ""), 1.0)))
        loss.register_forward_hook(self._whole)

    @contextmanager
    def record(self, enabled: bool = True) -> Iterator[dict[str, Tensor]]:
        """The parts, weighted as their scales are and without gradient; complete when the block ends."""
        parts: dict[str, Tensor] = {}
        self._scale, self._parts = 0, parts if enabled else None
        try:
            yield parts
        finally:
            self._parts = None

    def _child(self, name: str, weight: float, _module: nn.Module, _inputs: object, value: object) -> None:
        self._add(name, weight, value)

    def _whole(self, loss: nn.Module, _inputs: object, _value: object) -> None:
        latest: dict[str, Any] = getattr(loss, "latest", {})
        if len(latest) > 1:  # a part alone is the loss itself
            for name, value in latest.items():
                self._add(name, 1.0, value)
        self._scale += 1

    def _add(self, name: str, weight: float, value: object) -> None:
        if self._parts is None or not torch.is_tensor(value) or value.ndim != 0:
            return
        # Not every part runs at every scale: nnU-Net skips cross entropy where all voxels are ignored.
        self._parts[name] = self._parts.get(name, 0) + self._weights[self._scale] * weight * value.detach()
