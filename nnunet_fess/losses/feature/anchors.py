"""Which voxels of a patch are contrasted: as many of each class, half of them where segmentation is hard."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def near_a_border(classes: Tensor) -> Tensor:
    """Voxels that share a face with a voxel of another class.

    Args:
        classes: (B, *voxels) integers; -1 does not count, and is no other class.

    Returns:
        (B, *voxels), boolean.
    """
    classes = classes.to(torch.int16)
    found = torch.zeros_like(classes, dtype=torch.bool)
    counts = classes >= 0
    for axis in range(1, classes.ndim):
        length = classes.shape[axis] - 1
        near, far = (classes.narrow(axis, start, length) for start in (0, 1))
        border = near != far
        border &= counts.narrow(axis, 0, length) & counts.narrow(axis, 1, length)
        for start in (0, 1):
            found.narrow(axis, start, length).logical_or_(border)
    return found


def draw_anchors(
    classes: Tensor, num_classes: int, hard: Tensor, per_patch: int, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Voxels of each class of each patch, the same number of each: half of them hard ones, the rest any other of the class.

    A class with fewer voxels gives all it has; of one with fewer hard voxels than half the number, the rest is more. Both
    halves are spread: cut into as many equal parts as there are voxels to draw, in the order in which they lie in memory, each
    part gives one, by chance. That takes one sort of a patch, however many classes there are.

    Args:
        classes: (B, *voxels) integers; 0 … num_classes - 1, -1 is never drawn.
        num_classes: K.
        hard: (B, *voxels), boolean.
        per_patch: how many voxels of a patch, shared equally among the classes in it; at least 2 of each class.
        seeds: of chance, one per patch: what is drawn of a patch depends on nothing else, torch's own generators least.

    Returns:
        sample (N,) and flat index (N,) of the voxels, patch by patch and class by class.

    Source: half hard and half any is Wang et al. 2021, arXiv 2101.11939, "segmentation-aware hard anchor sampling"; voxels at a
    border count as hard here, too.
    """
    easy = (~hard).flatten(1)
    flat = classes.flatten(1).to(torch.int16)
    groups = 2 * num_classes  # each class's hard voxels, then its others
    keys = torch.where(flat >= 0, 2 * flat + easy, groups)
    order = _sorted(keys)
    patch = torch.arange(len(keys), device=keys.device)[:, None]
    counts = (keys + patch * (groups + 1)).flatten().bincount(minlength=len(keys) * (groups + 1))
    samples, places = [], []
    for sample, (sizes, seed) in enumerate(zip(counts.view(len(keys), groups + 1).tolist(), seeds, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        present = [number for number in range(num_classes) if sizes[2 * number] + sizes[2 * number + 1]]
        each = max(2, per_patch // max(1, len(present)))
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + size)
        for number in present:
            of_hard, of_easy = sizes[2 * number : 2 * number + 2]
            drawn = _half_hard(of_hard, of_hard + of_easy, each, generator) + starts[2 * number]
            places.append(drawn)
            samples.append(torch.full_like(drawn, sample))
    if not places:
        nothing = torch.empty(0, dtype=torch.long, device=keys.device)
        return nothing, nothing
    sample, place = torch.stack([torch.cat(samples), torch.cat(places)]).to(keys.device)
    return sample, order[sample, place]


def _sorted(keys: Tensor) -> Tensor:
    """The places of small numbers in ascending order, row by row; on a CPU by numpy's radix sort, ten times as fast."""
    if keys.device.type == "cpu":
        return torch.from_numpy(keys.numpy().argsort(1, kind="stable"))
    return keys.argsort(dim=1, stable=True)


def _half_hard(hard: int, total: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Different places below `total`, half of them below `hard` where that many are."""
    first = _spread(hard, min(hard, wanted // 2), generator)
    rest = _spread(total - len(first), min(total, wanted) - len(first), generator)
    # The rest are numbers among the places that are not taken: each moves up by those taken before it.
    rest += torch.searchsorted(first - torch.arange(len(first)), rest, right=True)
    return torch.cat([first, rest])


def _spread(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """One place of each of `wanted` parts of `count`, in order; every place has the same chance."""
    if wanted == 0:
        return torch.empty(0, dtype=torch.long)
    edges = torch.arange(wanted + 1) * count // wanted
    # The parts differ by one in length where `wanted` does not divide `count`, so they begin anywhere, as on a circle.
    shift, within = torch.rand(1 + wanted, generator=generator, dtype=torch.float64).split([1, wanted])
    places = edges[:-1] + (within * edges.diff()).long() + (shift * count).long()
    return (places % count).sort().values


def cell_of(voxel: Tensor, voxels: Sequence[int], cells: Sequence[int]) -> Tensor:
    """The cell of a coarser map in which voxels lie.

    Args:
        voxel: (N,) flat indices.
        voxels: how many per axis.
        cells: how many per axis, at most as many.

    Returns:
        (N,) flat indices.
    """
    if tuple(voxels) == tuple(cells):
        return voxel
    found, size = torch.zeros_like(voxel), 1
    for length, count in zip(reversed(voxels), reversed(cells), strict=True):
        found = found + voxel % length * count // length * size
        voxel, size = voxel // length, size * count
    return found
