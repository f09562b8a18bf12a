"""What the papers' authors' code computes where it is not what the paper says: for comparison, checked against its values.

Every loss that has a released form takes `convention="released"` and finds it here. Sources: the code of arXiv 2402.08582
(FESS), of arXiv 2407.06176 (CWCD and its baselines) and of arXiv 2108.01405 (region-wise losses).
"""

from __future__ import annotations

import torch
from torch import Tensor

from nnunet_fess.losses.maps.region_wise import signed_distance
from nnunet_fess.losses.sums import ClassSums
from nnunet_fess.losses.target import Convention, Target


def smooth_of(smooth: float | None, convention: Convention) -> float:
    """ε of the separable Dice: the one that was asked for, else the convention's own."""
    if smooth is not None:
        return smooth
    return 1e-3 if convention == "released" else 1e-5


def dice(sums: ClassSums, smooth: float) -> Tensor:
    """1 - Dice, one ratio of the sums over all classes and samples."""
    return _pooled(sums.hit, sums.missed, sums.false.sum(), smooth)


def separable_dice(sums: ClassSums, smooth: float) -> dict[str, Tensor]:
    """L_c and L_nc, each one ratio of the sums over all classes and samples; no λ."""
    (hit_rest, hit_contour), (missed_rest, missed_contour) = sums.hit.unbind(1), sums.missed.unbind(1)
    return {
        "sdl_contour": _pooled(hit_contour, missed_contour, torch.zeros_like(sums.summands), smooth),
        "sdl_rest": _pooled(hit_rest, missed_rest, sums.false.sum(), smooth),
    }


def generalized_dice(sums: ClassSums, smooth: float) -> Tensor:
    """1 - 2 (Σ v·hit + ε) / (Σ v·both + ε), v = 1 / ((Σ g)² + 0.001): an empty patch is rewarded with -1."""
    rarity = 1 / (sums.actual[:, 0].square() + 1e-3)
    hit, astray = ((rarity * x).sum(1) for x in (sums.hit[:, 0], sums.missed[:, 0] + sums.false))
    return ((astray - smooth) / (2 * hit + astray + smooth)).mean()


def contour_weighted_cross_entropy(sums: ClassSums, contour_weight: float) -> Tensor:
    """Mean(w·CE) + mean(CE)."""
    return sums.mean_cross_entropy_of_parts(2.0, 2.0 + contour_weight)


def foreground_as_regions(net_output: Tensor, target: Target) -> tuple[Tensor, Target]:
    """Logits and target of FESS's Dice: every foreground label a region of its own, with the sigmoid of its own channel."""
    if not target.is_label_map:
        return net_output, target
    labels = torch.arange(1, target.num_classes, device=target.classes.device)
    regions = target.classes == labels.view(-1, *[1] * (target.classes.ndim - 2))
    return net_output[:, 1:], Target(regions, target.valid, is_label_map=False, num_classes=regions.shape[1])


def _pooled(hit: Tensor, missed: Tensor, false: Tensor, smooth: float) -> Tensor:
    hit, astray = hit.sum(), missed.sum() + false
    return astray / (2 * hit + astray + smooth)


def boundary_map(target: Target) -> Tensor:
    """Signed distances in voxels; an absent class has the map of the class before it, the first one 0 (arXiv 2108.01405)."""
    signed = signed_distance(target, None)
    present = target.one_hot.flatten(2).any(2)
    maps: list[Tensor] = []
    for channel, there in zip(signed.unbind(1), present.unbind(1), strict=True):
        before = maps[-1] if maps else torch.zeros_like(channel)
        maps.append(torch.where(there.view(-1, *[1] * (channel.ndim - 1)), channel, before))
    return torch.stack(maps, 1)
