"""Connected components of a mask on a CPU: runs of voxels are found, joined where they touch, and numbered."""

from __future__ import annotations

import itertools

import numpy as np


def number_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Number the connected components; voxels that touch by a face, an edge or a corner are of one.

    The work is that of the mask's own voxels, and what is joined are runs along the last axis, not voxels.

    Args:
        mask: bool, any number of axes.

    Returns:
        int32, shaped as the mask: 0 outside, the components 1, 2, … in the order of their first voxels; and how many there are.
    """
    *lines, width = mask.shape
    numbers = np.zeros(mask.shape, np.int32)
    places = np.flatnonzero(mask)
    if not places.size:
        return numbers, 0
    begins = np.ones(len(places), bool)
    begins[1:] = (np.diff(places) > 1) | (places[1:] % width == 0)
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(places)) - 1
    line, left, right = places[first] // width, places[first] % width, places[last] % width
    parent = _joined(len(first), *_touching(lines, width, line, left, right))
    _, run = np.unique(parent, return_inverse=True)
    numbers.reshape(-1)[places] = np.repeat(run + 1, last - first + 1)
    return numbers, int(run.max()) + 1


def _touching(
    lines: list[int], width: int, line: np.ndarray, left: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of runs that touch, by their numbers: of each run, those that come later and lie on a neighbouring line."""
    wide = width + 2  # one more on either side: a run's neighbourhood then ends before the next line begins
    lefts, rights = line * wide + left, line * wide + right
    where = np.stack(np.unravel_index(line, lines)) if lines else np.zeros((0, len(line)), int)
    pairs: list[tuple[np.ndarray, np.ndarray]] = [(np.zeros(0, int), np.zeros(0, int))]
    for step in itertools.product((-1, 0, 1), repeat=len(lines)):
        if step <= (0,) * len(lines):
            continue
        there = where + np.array(step)[:, None]
        inside = np.flatnonzero(((there >= 0) & (there < np.array(lines)[:, None])).all(0))
        start = np.ravel_multi_index(tuple(there[:, inside]), lines) * wide
        low = np.searchsorted(rights, start + left[inside] - 1)
        high = np.searchsorted(lefts, start + right[inside] + 1, side="right")
        many = high - low
        one = np.repeat(inside, many)
        other = np.arange(len(one)) + np.repeat(low - (np.cumsum(many) - many), many)
        pairs.append((one, other))
    ones, others = zip(*pairs, strict=True)
    return np.concatenate(ones), np.concatenate(others)


def _joined(number: int, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For every thing the first of those that it is joined with, given the pairs."""
    parent = np.arange(number)
    while one.size:
        first, second = parent[one], parent[other]
        apart = first != second
        one, other, first, second = one[apart], other[apart], first[apart], second[apart]
        np.minimum.at(parent, np.maximum(first, second), np.minimum(first, second))
        while (parent != (above := parent[parent])).any():
            parent = above
    return parent
