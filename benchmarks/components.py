"""What CCDice's cells cost: components and their Voronoi cells against scipy's, the loss against Dice + cross entropy.

    python benchmarks/components.py [--size 96] [--lesions 10] [--repeats 5] [--json FILE]

One thread of the CPU; the clock is the process's own CPU time, which other loads of the machine disturb least. What is compared
runs in turn, round after round; the ratios are of medians. The mask is of cubes of 5³ voxels and one slab; the loss is forward
and backward of a sample with four classes, three of which have such a mask.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from cpu_time import medians, tell
from scipy.ndimage import distance_transform_edt, label

from nnunet_fess.losses import CCDiceLoss, DiceCELoss
from nnunet_fess.losses.maps.components import number_components
from nnunet_fess.losses.maps.voronoi import nearest_number

SPACINGS = {"1 1 1": (1.0, 1.0, 1.0), "3 0.8 0.8": (3.0, 0.8, 0.8)}


def mask_of(size: int, lesions: int, seed: int) -> np.ndarray:
    """Cubes at random places, and a slab at the first slices."""
    random = np.random.default_rng(seed)
    mask = np.zeros((size,) * 3, bool)
    mask[: size // 8] = True
    for corner in random.integers(0, size - 5, (lesions, 3)):
        mask[tuple(slice(first, first + 5) for first in corner)] = True
    return mask


def compare(ours: Callable[[], object], theirs: Callable[[], object], repeats: int) -> dict[str, float]:
    """Median milliseconds of both, and their ratio."""
    found = medians({"ours": ours, "theirs": theirs}, repeats)
    return {**{name: round(value, 1) for name, value in found.items()}, "ratio": round(found["ours"] / found["theirs"], 2)}


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96, help="voxels per axis")
    parser.add_argument("--lesions", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    mask = mask_of(options.size, options.lesions, 0)
    numbers, count = number_components(mask)
    found = {
        "components, to scipy.ndimage.label": compare(
            lambda: number_components(mask), lambda: label(mask, np.ones((3, 3, 3))), options.repeats
        )
    }
    for name, spacing in SPACINGS.items():
        found[f"cells, {name} mm, to scipy's feature transform"] = compare(
            lambda spacing=spacing: nearest_number(numbers, count, spacing),  # type: ignore[misc]
            lambda spacing=spacing: numbers[  # type: ignore[misc]
                tuple(distance_transform_edt(numbers == 0, spacing, return_distances=False, return_indices=True))
            ],
            options.repeats,
        )
    target = torch.zeros(1, 1, *mask.shape, dtype=torch.int16)
    for seed in range(3):
        target[0, 0, torch.from_numpy(mask_of(options.size, options.lesions, seed))] = seed + 1
    logits = torch.randn(1, 4, *mask.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    ours, theirs = CCDiceLoss(spacing=(1.0, 1.0, 1.0)), DiceCELoss()
    found["CCDiceLoss, to DiceCELoss"] = compare(
        lambda: ours(logits, target).backward(), lambda: theirs(logits, target).backward(), options.repeats
    )
    tell(options, ("torch", "numpy", "scipy"), {"milliseconds": found})


if __name__ == "__main__":
    main()
