"""λ · spatial term + (1 − λ) · feature term, called by nnU-Net like any of its losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nnunet_fess.trainers.blend import Blend
from nnunet_fess.trainers.components import FEATURE, SPATIAL, Components
from nnunet_fess.trainers.embedding_tap import EmbeddingTap, TrainingPass
from nnunet_fess.trainers.features import FeatureLoss
from nnunet_fess.trainers.parts import Parts
from nnunet_fess.trainers.schedules import RegionAndMap

# The factor PyTorch's GradScaler starts with: half-precision gradients of an unscaled loss would round to zero.
_LOSS_SCALE = 2.0**16


class ComposedLoss(nn.Module):
    """λ · spatial + (1 − λ) · feature in training, λ · spatial in validation, where no feature term is defined.

    The feature term is computed once per training step, not once per deep-supervision scale, and only where gradients are
    recorded: nnU-Net calls its loss in validation too, and a memory must not advance there.

    Args:
        spatial: loss of (output, target), deep supervision included; a region's, a map's, or a `Blend` of them.
        feature: term of the training pass, see `FeatureLoss`; None: the spatial term alone.
        tap: where the pass comes from; with a feature term only.
        weight: λ in [0, 1], or a function that tells it at the time of the call; with a feature term only.

    Attributes:
        cases: whose patches the next batch has, for the feature term; None where nobody knows.
    """

    def __init__(
        self,
        spatial: nn.Module,
        feature: FeatureLoss | None = None,
        tap: EmbeddingTap | None = None,
        weight: float | Callable[[], float] = 1.0,
    ):
        super().__init__()
        self.spatial = spatial
        self.feature = feature
        self.tap = tap
        self._weight = weight
        self.cases: Sequence[str] | None = None
        self.components = Components()
        self._parts = Parts(spatial)
        for module in spatial.modules():
            if isinstance(module, Blend) and isinstance(module.weighing, RegionAndMap):
                module.weighing.history = lambda: self.components.history

    @property
    def weight(self) -> float:
        """λ, now."""
        return float(self._weight() if callable(self._weight) else self._weight)

    def scheduled(self) -> dict[str, float]:
        """The weights that change from epoch to epoch, as they are now."""
        weights = {"lambda": self.weight} if callable(self._weight) else {}
        for module in self.spatial.modules():
            if isinstance(module, Blend) and module.scheduled:
                weights |= {f"weight_{name}": weight for name, weight in module.weights().items()}
        return weights

    def forward(self, output: Any, target: Any) -> Tensor:
        """The weighted sum, a scalar.

        Args:
            output: logits (B, C, *spatial), or a list of them with deep supervision.
            target: label maps or regions in nnU-Net's shapes, as many as outputs.
        """
        training = torch.is_grad_enabled()
        with self._parts.record(training) as parts:
            loss: Tensor = self.spatial(output, target)
        if training:
            self.components.add(SPATIAL, loss, parts)
        if self.feature is None:
            return loss
        weight = self.weight
        loss = weight * loss
        if training:
            term = self._feature(self._seen(), output, target)
            if term is not None:
                self.components.add(FEATURE, term)
                loss = loss + (1 - weight) * term
        return loss

    def feature_gradient_share(self, output: Any, target: Any) -> float:
        """‖∇ (1 - λ)·feature‖ / ‖∇ λ·spatial‖ at the feature map that the feature term reads, 0 while that is not defined.

        A look at a pass of the uncompiled network (inside a compiled one no gradient of the feature map can be had); no memory
        advances and no component is recorded. Of two views, the gradient of the first counts.
        """
        if self.feature is None:
            raise ValueError("there is no feature term")
        seen = self._seen()
        term = self._feature(seen, output, target, advance=False)
        if term is None:
            return 0.0
        feature_map = self.feature.feature_map(seen)
        gradients = (
            torch.autograd.grad(_LOSS_SCALE * loss, feature_map, retain_graph=True)[0].float().norm()
            for loss in ((1 - self.weight) * term, self.weight * self.spatial(output, target))
        )
        feature, spatial = (float(gradient) for gradient in gradients)
        return feature / spatial if spatial else float("inf") if feature else 0.0

    def _seen(self) -> TrainingPass:
        assert self.tap is not None
        return replace(self.tap.take(), cases=self.cases)

    def _feature(self, seen: TrainingPass, output: Any, target: Any, advance: bool = True) -> Tensor | None:
        assert self.feature is not None
        full = (output[0], target[0]) if isinstance(output, (list, tuple)) else (output, target)
        term: Tensor | None = self.feature(seen, *full, advance=advance)
        return term
