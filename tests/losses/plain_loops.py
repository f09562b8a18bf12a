"""The papers' equations voxel by voxel in plain Python: slow, and nothing of the package in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np


def voxels(shape: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return itertools.product(*map(range, shape))


def softmax(logits: np.ndarray) -> np.ndarray:
    """(C, *spatial)"""
    result = np.zeros(logits.shape)
    for i in voxels(logits.shape[1:]):
        values = [math.exp(logits[(j, *i)]) for j in range(logits.shape[0])]
        for j, value in enumerate(values):
            result[(j, *i)] = value / sum(values)
    return result


def own_contour(labels: np.ndarray, radius: int | Sequence[int], border_is_contour: bool) -> np.ndarray:
    """Whether a voxel's box holds another label (or leaves the array): what erosion takes from the voxel's class."""
    radii = [radius] * labels.ndim if isinstance(radius, int) else radius
    result = np.zeros(labels.shape, bool)
    for i in voxels(labels.shape):
        for offset in itertools.product(*(range(-r, r + 1) for r in radii)):
            j = tuple(a + b for a, b in zip(i, offset, strict=True))
            if all(0 <= a < n for a, n in zip(j, labels.shape, strict=True)):
                result[i] |= labels[j] != labels[i]
            else:
                result[i] |= border_is_contour
    return result


def dice_of(probability: np.ndarray, truth: np.ndarray, mask: np.ndarray, smooth: float) -> float:
    """1 - Dice of one class over the voxels of a mask."""
    hit = both = 0.0
    for i in voxels(mask.shape):
        if mask[i]:
            hit += probability[i] * truth[i]
            both += probability[i] + truth[i]
    return 1 - (2 * hit + smooth) / (both + smooth)


def separable_dice(logits: np.ndarray, labels: np.ndarray, radius: int, contour_fraction: float, smooth: float) -> float:
    """SDL of one sample, paper convention."""
    probability, rim = softmax(logits), own_contour(labels, radius, False)
    foreground = range(1, logits.shape[0])
    parts = []
    for inside in (True, False):
        total = 0.0
        for j in foreground:
            contour = rim & (labels == j)
            total += dice_of(probability[j], labels == j, contour if inside else ~contour, smooth)
        parts.append(total / len(foreground))
    return contour_fraction * parts[0] + (1 - contour_fraction) * parts[1]


def released_separable_dice(logits: np.ndarray, labels: np.ndarray, radius: int, smooth: float) -> float:
    """L_c + L_nc of a batch (B, C, *spatial), all samples and foreground classes in one sum."""
    loss = 0.0
    for inside in (True, False):
        hit = both = 0.0
        for x, y in zip(logits, labels, strict=True):
            probability, rim = softmax(x), own_contour(y, radius, True)
            for j in range(1, x.shape[0]):
                contour = rim & (y == j)
                for i in voxels(y.shape):
                    if contour[i] == inside:
                        hit += probability[(j, *i)] * (y[i] == j)
                        both += probability[(j, *i)] + (y[i] == j)
        loss += 1 - (2 * hit + smooth) / (both + smooth)
    return loss


def weighted_cross_entropy(logits: np.ndarray, labels: np.ndarray, weight: np.ndarray) -> float:
    """Mean over the voxels of one sample of -w log p."""
    probability = softmax(logits)
    terms = [-weight[i] * math.log(probability[(labels[i], *i)]) for i in voxels(labels.shape)]
    return sum(terms) / len(terms)


def components(mask: np.ndarray) -> np.ndarray:
    """Numbers of the connected components, 0 outside, by walking from voxel to voxel; corners touch."""
    numbers, count = np.zeros(mask.shape, int), 0
    for start in map(tuple, np.argwhere(mask)):
        if numbers[start]:
            continue
        count += 1
        stack = [start]
        while stack:
            here = stack.pop()
            if not all(0 <= i < n for i, n in zip(here, mask.shape, strict=True)) or not mask[here] or numbers[here]:
                continue
            numbers[here] = count
            stack += [tuple(np.add(here, step)) for step in itertools.product((-1, 0, 1), repeat=mask.ndim)]
    return numbers
