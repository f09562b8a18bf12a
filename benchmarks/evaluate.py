"""What eight metrics of three regions cost per case, against MONAI's: `nnunet_fess evaluate` without reading the files.

    python benchmarks/evaluate.py [--shape 240 240 155] [--repeats 5] [--json FILE]

Both get the same two label maps, of nested regions such as BraTS has, one as it is and one with a wandering border, and both
run on one thread. MONAI's way is its own functions, which crop to the structure as well: Dice, IoU, its confusion matrix for
precision, sensitivity and specificity, Hausdorff, average surface distance, surface Dice. The two run in turn, in rotating
order; the ratio is of the medians of CPU time. The values of both are compared before a time is believed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_confusion_matrix_metric,
    compute_dice,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
    get_confusion_matrix,
)
from numpy.typing import NDArray
from scipy import ndimage

from nnunet_fess import files, machine
from nnunet_fess.study.metrics import OVERLAP, SURFACE, case_metrics

REGIONS = {"whole tumor": (1, 2, 3), "tumor core": (2, 3), "enhancing tumor": (3,)}
METRICS = (*OVERLAP, *SURFACE)
TOLERANCE = 1.0


def example(shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Prediction and truth: three nested, ragged bodies that fill about as much of the volume as a glioma does."""
    generator = np.random.default_rng(0)
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij"))
    distance = np.sqrt(((axes - np.array([0.2, -0.1, 0.1])[:, None, None, None]) ** 2).sum(0))
    found = []
    for amplitude in (0.05, 0.06):
        rough = ndimage.gaussian_filter(generator.normal(size=shape), 5, truncate=2)
        rough *= amplitude / rough.std()
        labels = np.zeros(shape, np.uint8)
        for value, radius in enumerate((0.42, 0.3, 0.2), start=1):
            labels[distance + rough < radius] = value
        found.append(labels)
    return found[0], found[1]


def ours(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """All metrics by our functions."""
    return case_metrics(prediction, truth, REGIONS, (1.0, 1.0, 1.0), METRICS, TOLERANCE)


def monais(prediction: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """The same by MONAI's."""
    masks = [
        torch.from_numpy(np.stack([np.isin(labels, region) for region in REGIONS.values()])[None])
        for labels in (prediction, truth)
    ]
    floats = [mask.float() for mask in masks]
    confusion = get_confusion_matrix(*floats)
    spacing = (1.0, 1.0, 1.0)
    rows = {
        "dice": compute_dice(*floats),
        "iou": compute_iou(*floats),
        "precision": compute_confusion_matrix_metric("precision", confusion),
        "sensitivity": compute_confusion_matrix_metric("sensitivity", confusion),
        "specificity": compute_confusion_matrix_metric("specificity", confusion),
        "hd95": compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing),
        "assd": compute_average_surface_distance(*masks, include_background=True, symmetric=True, spacing=spacing),
        "nsd": compute_surface_dice(*masks, [TOLERANCE] * len(REGIONS), include_background=True, spacing=spacing),
    }
    return {
        region: {metric: float(values[0, number]) for metric, values in rows.items()} for number, region in enumerate(REGIONS)
    }


def main() -> None:
    """Check that both agree, time them, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155), help="default: 240 240 155")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    case = example(tuple(args.shape))
    candidates: dict[str, Callable[..., dict[str, dict[str, float]]]] = {"nnunet-fess": ours, "MONAI": monais}
    values = {name: function(*case) for name, function in candidates.items()}
    apart = max(abs(values["nnunet-fess"][region][m] - values["MONAI"][region][m]) for region in REGIONS for m in METRICS)
    if apart > 1e-4:
        raise SystemExit(f"the two differ by {apart}: {values}")
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(args.repeats):
        for name in list(candidates)[:: 1 if number % 2 else -1]:
            start = time.process_time()
            candidates[name](*case)
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = medians["MONAI"] / medians["nnunet-fess"]
    for name, median in medians.items():
        print(f"{name:<12} {median:.3f} s per case")
    print(f"MONAI / nnunet-fess: {ratio:.1f}, largest difference of a value {apart:.1g}")
    if args.json:
        files.write_json(
            args.json,
            {
                "machine": machine.processor(),
                "cores": machine.cores(),
                "load": os.getloadavg()[0],
                "commit": machine.commit(Path(__file__).parent),
                "versions": machine.versions(("nnunet-fess", "monai", "torch", "numpy", "scipy")),
                "shape": list(args.shape),
                "metrics": METRICS,
                "seconds": seconds,
                "ratio": ratio,
                "largest_difference": apart,
            },
        )


if __name__ == "__main__":
    main()
