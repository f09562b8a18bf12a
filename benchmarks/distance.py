"""What distances cost: the transform against scipy and edt, losses on distance maps against nnU-Net's and MONAI's.

    python benchmarks/distance.py [--sizes 64 128] [--classes 2 4 16] [--loss-classes 4 16] [--repeats 7] [--json FILE]

One thread of the CPU; the clock is the process's own CPU time, which other loads of the machine disturb least. All candidates
of a comparison run in turn, round after round, in rotating order; the ratios are of their medians. The transform is that of one
class of a label map, outside of it, which is one call of scipy's. Losses are forward and backward, at batch 2.

`naive RRW` computes its map with scipy class by class, as the code that people give up in nnU-Net does; `edt` is measured where
that package is installed (pip install edt).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from cpu_time import medians, tell
from monai.losses.hausdorff_loss import HausdorffDTLoss as MonaiHausdorffDTLoss
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from nnunet_fess import losses
from nnunet_fess.losses.maps.distance import distance_to_border, distance_transform

SPACINGS = {"1 1 1": (1.0, 1.0, 1.0), "3 0.8 0.8": (3.0, 0.8, 0.8)}
REFERENCE = "nnU-Net DC_and_CE_loss"


def example(batch: int, classes: int, size: int) -> tuple[Tensor, Tensor]:
    """Logits (B, C, n, n, n) and int16 labels in blobs of some 16 voxels."""
    torch.manual_seed(0)
    blobs = F.interpolate(torch.randn(batch, classes, *[max(size // 8, 2)] * 3), size=(size,) * 3, mode="trilinear")
    labels = blobs.argmax(1, keepdim=True).to(torch.int16)
    return torch.randn(batch, classes, size, size, size).requires_grad_(), labels


def transform(size: int, classes: int, spacing: tuple[float, ...], repeats: int) -> dict[str, Any]:
    """One class's distance, and the one to every class's own border."""
    labels = example(1, classes, size)[1]
    mask = labels == 1
    outside, byte = (~mask[0, 0]).numpy(), labels[0, 0].numpy().astype(np.uint8)
    candidates: dict[str, Callable[[], object]] = {
        "scipy": lambda: distance_transform_edt(outside, spacing),
        "ours": lambda: distance_transform(mask, spacing),
        "ours, cap 20 mm": lambda: distance_transform(mask, spacing, 20.0),
        "ours, border of all classes": lambda: distance_to_border(labels, spacing),
    }
    if find_spec("edt"):
        edt = import_module("edt")
        candidates["edt"] = lambda: edt.edt(outside, anisotropy=spacing, black_border=False, parallel=1)
        candidates["edt, border of all classes"] = lambda: edt.edt(byte, anisotropy=spacing, black_border=False, parallel=1)
    found = medians(candidates, repeats)
    return {"milliseconds": found, "ours / scipy": round(found["ours"] / found["scipy"], 3)}


def naive_rrw(net_output: Tensor, target: Tensor) -> Tensor:
    """RRW with a map that scipy makes, class by class."""
    weight = np.ones(net_output.shape, np.float32)
    for sample, labels in enumerate(target[:, 0].numpy()):
        for j in range(net_output.shape[1]):
            inside = distance_transform_edt(labels == j)
            weight[sample, j] = np.where(labels == j, -inside / max(inside.max(), 1e-6), 1)
    return (net_output.softmax(1) * torch.from_numpy(weight)).mean()


def candidates_of_losses() -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The losses by name, nnU-Net's first."""
    dice = {"batch_dice": False, "smooth": 1e-5, "ddp": False, "do_bg": False}
    return {
        REFERENCE: DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss),
        "DWCE": losses.DistanceWeightedCrossEntropyLoss(),
        "RRW": losses.RegionWiseLoss("rrw"),
        "Boundary": losses.RegionWiseLoss("boundary"),
        "ActiveContour": losses.RegionWiseLoss("active_contour"),
        "GSL": losses.GeneralizedSurfaceLoss(),
        "FuzzyRough": losses.FuzzyRoughLoss(),
        "HausdorffOS": losses.HausdorffOSLoss(),
        "HausdorffDT": losses.HausdorffDTLoss(),
        "naive RRW (scipy)": naive_rrw,
        "MONAI HausdorffDTLoss": MonaiHausdorffDTLoss(to_onehot_y=True, softmax=True, include_background=True),
    }


def step(loss: Callable[[Tensor, Tensor], Tensor], net_output: Tensor, target: Tensor) -> None:
    """Forward and backward."""
    net_output.grad = None
    loss(net_output, target).backward()


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128], help="voxels per axis of the transforms")
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 4, 16], help="of the transforms")
    parser.add_argument("--loss-size", type=int, default=64, help="voxels per axis of the losses")
    parser.add_argument("--loss-classes", type=int, nargs="*", default=[4, 16])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "transform": {
            f"{size}³, {classes} classes, {name} mm": transform(size, classes, spacing, options.repeats)
            for size in options.sizes
            for name, spacing in SPACINGS.items()
            for classes in options.classes
        },
        "loss": {},
    }
    for classes in options.loss_classes:
        inputs = example(2, classes, options.loss_size)
        found = medians({name: partial(step, loss, *inputs) for name, loss in candidates_of_losses().items()}, options.repeats)
        result["loss"][f"{classes} classes"] = {
            "milliseconds": found,
            "ratio": {name: round(value / found[REFERENCE], 2) for name, value in found.items()},
        }
    tell(options, ("torch", "numpy", "scipy", "nnunetv2", "monai"), result)


if __name__ == "__main__":
    main()
