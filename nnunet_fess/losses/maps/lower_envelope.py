"""Squared Euclidean distances on a CPU: separable minimum passes over blocks that stay in the cache.

The squared distance is separable. Along the first axis it is a walk back and forth; along each further axis the minimum over
all shifts r of the values so far plus (r·step)², a parabola's lower envelope. The shifts stop as soon as r·step exceeds the
largest distance left in the block, so that a block costs what its own distances ask for. Axes of equal spacing are done in
16-bit integers, which are exact and twice as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from nnunet_fess.losses.blocks import in_threads

_BLOCK = 1 << 15  # values: with its two companions, half of a usual second-level cache
_FAR = 16000  # further than any line is long


def squared_distances(
    arrays: np.ndarray, spacing: Sequence[float], cap: float = math.inf, to_border: bool = False
) -> np.ndarray:
    """Squared distance in mm² of every voxel to the nearest goal, between voxel centres, at most cap².

    Args:
        arrays: (N, *spatial), each of them transformed by itself. Goals are the True voxels of a bool array; with `to_border`,
            for every voxel of an integer array those with another value.
        spacing: mm per axis.
        cap: in mm; infinite where there is no goal and no cap.
        to_border: see `arrays`.

    Returns:
        float32, shaped as the arrays.
    """
    result = np.empty(arrays.shape, np.float32)

    def one(number: int) -> None:
        _in_mm(*_of_one(arrays[number], spacing, cap * cap, to_border), cap * cap, out=result[number])

    in_threads(one, range(len(arrays)))
    return result


def squared_distances_to_two(masks: np.ndarray, spacing: Sequence[float], cap: float) -> np.ndarray:
    """Squared distance in mm² of every voxel to the nearest and to the second nearest of M sets of goals, at most cap².

    Args:
        masks: bool (B, M, *spatial), True on the goals.
        spacing: mm per axis.
        cap: in mm.

    Returns:
        float32 (B, 2, *spatial).
    """
    result = np.full((len(masks), 2, *masks.shape[2:]), cap * cap, np.float32)

    def one(number: int) -> None:
        two: list[np.ndarray] = []
        unit2 = 1.0
        for mask in masks[number]:
            if not mask.any():
                continue
            found, unit2 = _of_one(mask, spacing, cap * cap, False)
            if len(two) == 2:
                np.minimum(two[1], np.maximum(two[0], found), out=two[1])
                np.minimum(two[0], found, out=two[0])
            else:
                two = [found] if not two else [np.minimum(two[0], found), np.maximum(two[0], found)]
        for values, out in zip(two, result[number], strict=False):
            _in_mm(values, unit2, cap * cap, out)

    in_threads(one, range(len(masks)))
    return result


def _in_mm(values: np.ndarray, unit2: float, cap2: float, out: np.ndarray) -> None:
    np.multiply(values, np.float32(unit2), out=out, casting="unsafe")
    if math.isfinite(cap2):
        np.minimum(out, np.float32(cap2), out=out)


def _of_one(array: np.ndarray, spacing: Sequence[float], cap2: float, to_border: bool) -> tuple[np.ndarray, float]:
    """Squared distances in uint16 or float32, and what they are to be multiplied by; at least cap2 stands for beyond it."""
    if not array.size or (array.min() == array.max() if to_border else not array.any()):
        return np.full(array.shape, cap2, np.float32), 1.0
    if math.isfinite(cap2) and not to_border:
        near = _within(array, spacing, math.sqrt(cap2))
        if array[near].size < array.size:
            part, unit2 = _of_one(array[near], spacing, cap2, False)
            beyond = math.ceil(cap2 / unit2)
            part = part.astype(np.float32) if beyond > 65535 else part
            whole = np.full(array.shape, beyond, part.dtype)
            whole[near] = part
            return whole, unit2
    alike, others = _axes_by_spacing(spacing)
    line = _line_to_border if to_border else _line_to_goal
    unit2 = spacing[alike[0]] ** 2
    lengths = [array.shape[axis] - 1 for axis in alike]
    far = sum(length * length for length in lengths) + 1  # in units², above everything that is found
    far = min(far, math.floor(min(cap2 / unit2, 2**30)) + 1)
    if far <= 65025 and far + min(far, max(lengths) ** 2) <= 65535:
        squared = _square(line(array, alike[0]), far)
        for axis in alike[1:]:
            add_axis(squared, array, axis, 1, far, line if to_border else None)
        if not others:
            return squared, unit2
        values = squared.astype(np.float32)
        values *= np.float32(unit2)
        values[squared == far] = cap2
    else:
        others = [*alike[1:], *others]
        values = _square(line(array, alike[0]), math.inf, unit2)
    for axis in others:
        add_axis(values, array, axis, spacing[axis] ** 2, cap2, line if to_border else None)
    return values, 1.0


def _within(mask: np.ndarray, spacing: Sequence[float], reach: float) -> tuple[slice, ...]:
    """The box around all that is True, wider by reach on each side."""
    box = []
    for axis, step in enumerate(spacing):
        there = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        margin = math.ceil(reach / step)
        box.append(slice(max(0, int(there[0]) - margin), int(there[-1]) + margin + 1))
    return tuple(box)


def _axes_by_spacing(spacing: Sequence[float]) -> tuple[list[int], list[int]]:
    """The largest set of axes of equal spacing, and the rest."""
    unit = max(spacing, key=lambda value: list(spacing).count(value))
    return (
        [axis for axis, value in enumerate(spacing) if value == unit],
        [axis for axis, value in enumerate(spacing) if value != unit],
    )


def _square(line: np.ndarray, far: float, unit2: float = 1.0) -> np.ndarray:
    """(voxels along a line)², at most far: uint16, or float32 in mm² where no far is given."""
    if math.isfinite(far):
        short = np.minimum(line, np.int16(math.isqrt(int(far)) + 1)).astype(np.uint16)
        short *= short
        return np.minimum(short, np.uint16(far), out=short)
    values = line.astype(np.float32)
    values *= values
    values *= np.float32(unit2)
    values[line >= _FAR] = math.inf
    return values


def _line_to_goal(mask: np.ndarray, axis: int) -> np.ndarray:
    """Voxels along the axis to the nearest True, `_FAR` or more without one: (*spatial) int16."""
    first = np.moveaxis(mask, axis, 0)
    steps = np.where(first, np.int16(0), np.int16(_FAR))
    one = np.int16(1)
    for i in range(1, len(steps)):
        np.minimum(steps[i], steps[i - 1] + one, out=steps[i])
    for i in range(len(steps) - 2, -1, -1):
        np.minimum(steps[i], steps[i + 1] + one, out=steps[i])
    return np.moveaxis(steps, 0, axis)


def _line_to_border(labels: np.ndarray, axis: int) -> np.ndarray:
    """Voxels along the axis to the nearest other label, `_FAR` or more without one: (*spatial) int16."""
    first = np.ascontiguousarray(np.moveaxis(labels, axis, 0))
    steps = np.full(first.shape, _FAR, np.int16)
    one = np.int16(1)
    changes = first[1:] != first[:-1]
    # A neighbour with another label is one step away; one with the same label, a step further than from there.
    for i in range(1, len(steps)):
        np.minimum(steps[i], np.where(changes[i - 1], one, steps[i - 1] + one), out=steps[i])
    for i in range(len(steps) - 2, -1, -1):
        np.minimum(steps[i], np.where(changes[i], one, steps[i + 1] + one), out=steps[i])
    return np.moveaxis(steps, 0, axis)


def add_axis(
    squared: np.ndarray,
    array: np.ndarray,
    axis: int,
    step2: float,
    far: float,
    line: Callable[[np.ndarray, int], np.ndarray] | None,
) -> None:
    """Let the distances, so far those within the axes done before, see along one more axis; in place.

    With `line` (to a border) a voxel must not see past the next other label on its line, where distances are those to another
    label's border. It need not be kept from it: what lies behind that voxel is further away than the voxel itself, whose
    distance is put in afterwards.
    """
    moved = np.moveaxis(squared, axis, 0)
    rows = max(1, _BLOCK // max(1, moved[:, :1].size))
    for start in range(0, moved.shape[1], rows):
        block = moved[:, start : start + rows]
        block[...] = _lower_envelope(np.ascontiguousarray(block).reshape(len(moved), -1), step2, far).reshape(block.shape)
    if line is not None:
        along = line(array, axis)
        along = _square(along, far) if squared.dtype == np.uint16 else _square(along, math.inf, step2)
        np.minimum(squared, along, out=squared)


def _lower_envelope(values: np.ndarray, step2: float, far: float) -> np.ndarray:
    """Min over j of values[j] + step2·(i - j)², along the first of two axes; at least far stands for what is not known."""
    known = np.flatnonzero(values.min(1) < far)
    if not known.size:
        return values
    if known.size == len(values):
        return _of_known(values, known, step2, far)
    heard = values.min(0) < far  # a line without any knowledge would be looked at up to the last shift
    if heard.all():
        return _of_known(values, known, step2, far)
    lowest = values.copy()
    lowest[:, heard] = _of_known(np.ascontiguousarray(values[:, heard]), known, step2, far)
    return lowest


def _of_known(values: np.ndarray, known: np.ndarray, step2: float, far: float) -> np.ndarray:
    """`_lower_envelope`, `known` being the positions where any line knows something."""
    length, first, last = len(values), int(known[0]), int(known[-1]) + 1
    sources = values[first:last]
    lowest, shifted = values.copy(), np.empty_like(values)
    kind = values.dtype.type
    # Of a small object few positions know anything: let each of them tell all others. That is 2 operations on the block for
    # each; a shift is 3 on the sources, and the shifts must reach the positions on either side.
    beyond = max(first, length - last)
    if 4 * known.size <= length or 2 * length * known.size <= 3 * beyond * len(sources):
        indices = np.arange(length)
        for j in known:
            # Not beyond far, which whole numbers must not exceed
            cost = np.minimum(step2 * (indices - j) ** 2, far).astype(kind)
            np.add(values[j], cost[:, None], out=shifted)
            np.minimum(lowest, shifted, out=lowest)
        return lowest
    moved = shifted[: len(sources)]
    least, highest = float(sources.min()), float(lowest.max())
    for shift in range(1, length):
        cost = step2 * shift * shift
        if cost >= min(highest, far) - least:
            break
        np.add(sources, kind(cost), out=moved)
        cut = max(0, shift - first)  # what would be moved before the first position, or behind the last
        if cut < len(sources):
            down = lowest[first - shift + cut : last - shift]
            np.minimum(down, moved[cut:], out=down)
        stop = min(last, length - shift)
        if stop > first:
            up = lowest[first + shift : stop + shift]
            np.minimum(up, moved[: stop - first], out=up)
        if shift % 4 == 0:
            highest = float(lowest.max())
    return lowest
