"""α of α · region + (1 − α) · map: fixed, or following the run's own epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from nnunet_fess.plugin import Host, Settings

REGION, MAP = "region", "map"
Weights = tuple[float, float]
# Steps of the schedule of that name: α falls from 1 to 0 in so many.
STEPS = 5


def gradual(epoch: int, epochs: int) -> Weights:
    """α = max(1 − epoch / epochs, 0.01): arXiv 2108.01405, where it is (100 − epoch) / 100 whatever the number of epochs."""
    alpha = max(1 - epoch / epochs, 0.01)
    return alpha, 1 - alpha


def linear(epoch: int, epochs: int) -> Weights:
    """α from 1 in the first epoch to 0 in the last: arXiv 2302.03868, as the next two."""
    alpha = max(1 - epoch / max(epochs - 1, 1), 0.0)
    return alpha, 1 - alpha


def step(epoch: int, epochs: int) -> Weights:
    """α = 1, ¾, ½, ¼ and 0, each for a fifth of the epochs; the number of steps is ours."""
    alpha = 1 - min(STEPS * epoch // epochs, STEPS - 1) / (STEPS - 1)
    return alpha, 1 - alpha


def cosine(epoch: int, epochs: int) -> Weights:
    """α = ½ (1 + cos(π · epoch / last epoch))."""
    alpha = (1 + math.cos(math.pi * min(epoch / max(epochs - 1, 1), 1))) / 2
    return alpha, 1 - alpha


SCHEDULES: Mapping[str, Callable[[int, int], Weights]] = {
    "gradual": gradual,
    "linear": linear,
    "step": step,
    "cosine": cosine,
    "equal": lambda _epoch, _epochs: (1.0, 1.0),
}


class RegionAndMap:
    """The weights of region and map in the present epoch, for `Blend`.

    They follow from the epoch alone; `balanced` from the epoch before as `Components` recorded it, whose parts and weights are
    in the checkpoint: a resumed training goes on with the same.

    Args:
        settings: with the options of `catalogue.OF_BLENDS`.
        host: its epoch and number of epochs.
        region_floor: the least value of the region's loss: −1 of nnU-Net's own, whose Dice is negative.

    Attributes:
        history: tells the rows of `Components`.
    """

    def __init__(self, settings: Settings, host: Host, region_floor: float = 0.0):
        self.alpha = settings.number("alpha")
        self.schedule = next((key for key in (*SCHEDULES, "balanced") if settings.switch(key)), None)
        self.region_floor = region_floor
        self.history: Callable[[], Sequence[Mapping[str, float]]] = lambda: ()
        self._host = host

    def __call__(self) -> dict[str, float]:
        """Of region and map, now."""
        epoch = self._host.epoch()
        if self.schedule is None:
            weights = (self.alpha, 1 - self.alpha)
        elif self.schedule == "balanced":
            weights = self._balanced(epoch)
        else:
            weights = SCHEDULES[self.schedule](epoch, self._host.epochs)
        return dict(zip((REGION, MAP), weights, strict=True))

    def _balanced(self, epoch: int) -> Weights:
        """α such that both means of the epoch before are equal; ½ while nothing is known."""
        before = next((row for row in reversed(self.history()) if row["epoch"] == epoch - 1), {})
        means = []
        for name, floor in ((REGION, self.region_floor), (MAP, 0.0)):
            weight = before.get(f"weight_{name}", 0.0)
            means.append(before.get(name, 0.0) / weight - floor if weight else 0.0)
        if not all(mean > 0 and math.isfinite(mean) for mean in means):
            return 0.5, 0.5
        alpha = means[1] / sum(means)
        return alpha, 1 - alpha
