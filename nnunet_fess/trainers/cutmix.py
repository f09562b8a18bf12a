"""CutMix: each patch of a batch gets a box of another one. A control for comparisons of losses; it is no loss."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Box = tuple[tuple[int, int], ...]
"""First voxel and the one behind the last, per axis."""


class CutMix:
    """With some probability, paste a random box of another patch of the batch into every patch, image and truth alike.

    The box is the same for the whole batch; its share of the patch is uniform in 0 … 1, its sides are those of the patch times
    one factor, and it lies anywhere inside. Which patch is whose other is drawn, too. Truths of coarser scales are those that
    would be made of the mixed truth: a voxel is pasted if the voxel that it is taken from is.

    Args:
        probability: that a batch is mixed.

    Source: Yun et al. 2019, arXiv 1905.04899; with a truth per voxel nothing has to be weighed, as in French et al. 2020,
    arXiv 1906.01916.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability
        # Its own: whether it mixes or not, a seed's batches and augmentations stay the same.
        self._random = torch.Generator()
        self._random.seed()

    def reseed(self, seed: int) -> None:
        """Draw the same again."""
        self._random.manual_seed(seed)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch, mixed or not; what was given stays as it is.

        Args:
            batch: "data" (B, C, *spatial), and "target" (B, …, *spatial) or a list of these, of coarser scales, too.
        """
        data = batch["data"]
        spatial = data.shape[2:]
        happens, share, other, *corner = torch.rand(3 + len(spatial), generator=self._random, dtype=torch.float64).tolist()
        if len(data) < 2 or happens >= self.probability:
            return batch
        box = _box(spatial, share, corner)
        shift = 1 + int(other * (len(data) - 1))

        def mix(values: Tensor) -> Tensor:
            place: tuple[Any, ...] = (..., *(slice(*edge) for edge in on_scale(box, spatial, values.shape[2:])))
            mixed = values.clone()
            mixed[place] = values[place].roll(shift, 0)
            return mixed

        target = batch["target"]
        return {
            **batch,
            "data": mix(data),
            "target": [mix(each) for each in target] if isinstance(target, list) else mix(target),
        }


def _box(spatial: Sequence[int], share: float, corner: Sequence[float]) -> Box:
    """A box with that share of the volume, or at least one voxel; its corner as fractions of where it may lie."""
    box = []
    for size, fraction in zip(spatial, corner, strict=True):
        length = max(1, round(size * share ** (1 / len(spatial))))
        first = int(fraction * (size - length + 1))
        box.append((first, first + length))
    return tuple(box)


def on_scale(box: Box, spatial: Sequence[int], coarse: Sequence[int]) -> Box:
    """The box on the grid of a coarser truth, every voxel of which is that of the middle of its own (nearest-exact).

    Args:
        box: on the full grid.
        spatial: shape of that grid.
        coarse: shape of the other one, which covers the same field of view.
    """
    found = []
    for (first, end), full, size in zip(box, spatial, coarse, strict=True):
        taken = [(2 * i + 1) * full // (2 * size) for i in range(size)]
        found.append((bisect_left(taken, first), bisect_left(taken, end)))
    return tuple(found)
