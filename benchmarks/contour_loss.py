"""What the contour-weighted loss costs: against nnU-Net's default, scipy's contours and the authors' way.

    python benchmarks/contour_loss.py [--regions] [--size 64] [--batch 2] [--classes 4 16] [--repeats 15] [--device cpu]
                                      [--threads 1] [--loaded] [--json FILE]

With --regions the network's channels are nested regions, as of BraTS, against nnU-Net's default for those.

All candidates run in turn in one process, round after round, in rotating order; the ratios are of their medians. With one
thread the clock is the process's own CPU time, which other loads of the machine disturb least; with more, and on a GPU, it is
wall time. --loaded keeps every core busy with something else meanwhile. Peak memory is what a loss takes beyond its inputs,
forward and backward, the gradient included: the high-water mark of resident memory in a fork (Linux), or of torch's allocator
on a GPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from scipy.ndimage import binary_erosion
from torch import Tensor

from nnunet_fess import machine
from nnunet_fess.losses import CWCDLoss, DiceCELoss, contour_map

Loss = Callable[[Tensor, Tensor], Tensor]
ITERATIONS = 6
CE, BCE, AUTHORS = "nnU-Net DC_and_CE_loss", "nnU-Net DC_and_BCE_loss", "CWCD, authors' way"


def example(batch: int, classes: int, size: int, device: str, regions: bool = False) -> tuple[Tensor, Tensor]:
    """Logits (B, C, n, n, n) and a target as nnU-Net's data loader hands it over, in blobs of some 16 voxels.

    The target is int16 labels, or bool regions, each inside the one before.
    """
    torch.manual_seed(0)
    labels = classes + regions  # of regions, one more: the outside of them all
    blobs = F.interpolate(torch.randn(batch, labels, *[max(size // 8, 2)] * 3), size=(size,) * 3, mode="trilinear")
    target = blobs.argmax(1, keepdim=True).to(torch.int16)
    if regions:
        target = torch.cat([target > j for j in range(classes)], 1)
    return torch.randn(batch, classes, size, size, size).to(device).requires_grad_(), target.to(device)


def scipy_contours(labels: Tensor, classes: int) -> np.ndarray:
    """(B, C, *spatial) bool: the contour of every class, eroded one class and sample after the other."""
    box = np.ones((3, 3, 3), bool)
    return np.stack(
        [
            [(y == j) ^ binary_erosion(y == j, box, iterations=ITERATIONS) for j in range(classes)]
            for y in labels[:, 0].cpu().numpy()
        ]
    )


def authors_way(net_output: Tensor, target: Tensor) -> Tensor:
    """CWCD as the released code goes about it: contours per class with scipy, one-hot truth, lists of indices.

    Written from the description of that code; its contours are made beforehand and read from files, here they are made.
    """
    classes = net_output.shape[1]
    contours = torch.from_numpy(scipy_contours(target, classes)).to(net_output.device)
    truth = F.one_hot(target[:, 0].long(), classes).movedim(-1, 1).float()
    probability = net_output.softmax(1)
    dice = net_output.new_zeros(())
    for inside in (True, False):
        predicted, actual = [], []
        for j in range(1, classes):
            index = torch.nonzero(contours[:, j] == inside, as_tuple=True)
            predicted.append(probability[:, j][index])
            actual.append(truth[:, j][index])
        p, g = torch.cat(predicted), torch.cat(actual)
        dice = dice + 1 - (2 * (p * g).sum() + 1e-3) / (p.sum() + g.sum() + 1e-3)
    entropy = F.cross_entropy(net_output, target[:, 0].long(), reduction="none")
    weight = 1 + 2 * contours.sum(1).clamp(max=1)
    return dice + (weight * entropy).mean() + entropy.mean()


def losses() -> dict[str, Loss]:
    """The candidates by name; those of nnU-Net and of the authors are for one kind of target."""
    options = {"batch_dice": False, "smooth": 1e-5, "ddp": False}
    return {
        CE: DC_and_CE_loss(options | {"do_bg": False}, {}, dice_class=MemoryEfficientSoftDiceLoss),
        BCE: DC_and_BCE_loss({}, options | {"do_bg": True}, dice_class=MemoryEfficientSoftDiceLoss),
        "CWCD": CWCDLoss(iterations=ITERATIONS),
        "CWCD adaptive": CWCDLoss(iterations=ITERATIONS, adaptive=True),
        "DiceCE": DiceCELoss(),
        AUTHORS: authors_way,
    }


def medians(candidates: Mapping[str, Callable[[], object]], options: argparse.Namespace) -> dict[str, float]:
    """Median milliseconds of each. All run in every round, in an order that rotates: who follows whom matters to the heap."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    for _ in range(options.repeats + len(order)):
        for name in order:
            begin = _now(options)
            candidates[name]()
            times[name].append(1e3 * (_now(options) - begin))
        order.append(order.pop(0))
    return {name: round(statistics.median(values[len(order) :]), 3) for name, values in times.items()}


def _now(options: argparse.Namespace) -> float:
    if options.device != "cpu":
        torch.cuda.synchronize()
    elif options.threads == 1:
        return time.process_time()
    return time.perf_counter()


@contextlib.contextmanager
def busy(cores: int) -> Iterator[None]:
    """A process that computes all the time for each of the cores."""
    others = [multiprocessing.get_context("spawn").Process(target=_compute, daemon=True) for _ in range(cores)]
    for other in others:
        other.start()
    time.sleep(5 if others else 0)
    try:
        yield
    finally:
        for other in others:
            other.terminate()


def _compute() -> None:
    x = np.random.default_rng(0).random(100_000)
    while True:
        np.sort(x)


def step(loss: Loss, net_output: Tensor, target: Tensor) -> None:
    """Forward and backward."""
    net_output.grad = None
    loss(net_output, target).backward()


def peak_mib(name: str, batch: int, classes: int, size: int, device: str, regions: bool) -> float:
    """Highest memory of one forward and backward, beyond the inputs, in MiB."""
    torch.set_num_threads(1)
    loss = losses()[name]
    step(loss, *example(1, classes, 16, device, regions))  # what a first call loads is not the loss's memory
    net_output, target = example(batch, classes, size, device, regions)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(loss, net_output, target)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark
    before = _status("VmRSS")
    step(loss, net_output, target)
    return (_status("VmHWM") - before) / 2**10


def _status(key: str) -> int:
    """KiB from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))


def peaks(names: list[str], options: argparse.Namespace, classes: int) -> dict[str, float]:
    """Peak memory of each loss; on a CPU in a fork of this process, so that none finds pages another has left."""
    arguments = (options.batch, classes, options.size, options.device, options.regions)
    if options.device != "cpu":
        return {name: round(peak_mib(name, *arguments), 2) for name in names}
    found = {}
    for name in names:
        with multiprocessing.get_context("fork").Pool(1) as pool:
            found[name] = round(pool.apply(peak_mib, (name, *arguments)), 2)
    return found


def contours_of_labels(options: argparse.Namespace) -> dict[str, Any]:
    """The contour alone, of few and many classes, against scipy's."""
    few, four, many = (
        example(options.batch, classes, options.size, options.device)[1].to(torch.uint8) for classes in (2, 4, 16)
    )
    milliseconds = medians(
        {
            "2 classes": lambda: contour_map(few, ITERATIONS),
            "16 classes": lambda: contour_map(many, ITERATIONS),
            "4 classes": lambda: contour_map(four, ITERATIONS),
            "4 classes adaptive": lambda: contour_map(four, ITERATIONS, adaptive=True),
            "4 classes, scipy per class": lambda: scipy_contours(four, 4),
        },
        options,
    )
    return {
        "milliseconds": milliseconds,
        "16 classes / 2 classes": round(milliseconds["16 classes"] / milliseconds["2 classes"], 3),
        "ours / scipy": round(milliseconds["4 classes"] / milliseconds["4 classes, scipy per class"], 3),
    }


def contours_of_regions(options: argparse.Namespace) -> dict[str, Any]:
    """The contour alone, of regions against a label map, which has one channel."""
    one = example(options.batch, 4, options.size, options.device)[1].to(torch.uint8)
    three, four, eight = (example(options.batch, regions, options.size, options.device, True)[1] for regions in (3, 4, 8))
    return {
        "milliseconds": medians(
            {
                "label map of 4 classes": lambda: contour_map(one, ITERATIONS),
                "3 regions": lambda: contour_map(three, ITERATIONS),
                "4 regions": lambda: contour_map(four, ITERATIONS),
                "8 regions": lambda: contour_map(eight, ITERATIONS),
                "4 regions adaptive": lambda: contour_map(four, ITERATIONS, adaptive=True),
            },
            options,
        )
    }


def provenance(device: str) -> dict[str, Any]:
    """Where and with what the numbers were taken."""
    return {
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if device != "cpu" else None,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "nnunetv2", "numpy", "scipy", "nnunet-fess")},
        "commit": machine.commit(Path(__file__).parent),
    }


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=64, help="voxels per axis")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument(
        "--classes", type=int, nargs="+", default=[4, 16], help="the authors' way runs with the first number only"
    )
    parser.add_argument("--regions", action="store_true", help="channels are nested regions, not classes")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch, on a CPU")
    parser.add_argument("--loaded", action="store_true", help="with a busy process for each core")
    parser.add_argument("--no-authors", action="store_true", help="leave out the authors' way, which takes long")
    parser.add_argument("--json", type=Path, help="file to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    result: dict[str, Any] = {"options": {k: v for k, v in vars(options).items() if k != "json"}}
    result |= {"machine": provenance(options.device), "loss": {}, "contour": {}}
    candidates = losses()
    base, other = (BCE, CE) if options.regions else (CE, BCE)
    lean = [name for name in candidates if name not in (other, AUTHORS)]
    # Memory first: what the timings leave behind would hide it.
    mebibytes = {classes: peaks(lean, options, classes) for classes in options.classes}
    with busy((os.cpu_count() or 1) if options.loaded else 0):
        for classes in options.classes:
            inputs = example(options.batch, classes, options.size, options.device, options.regions)
            names = lean if options.regions or options.no_authors or classes != options.classes[0] else [*lean, AUTHORS]
            milliseconds = medians({name: partial(step, candidates[name], *inputs) for name in names}, options)
            result["loss"][str(classes)] = {
                "milliseconds": milliseconds,
                "ratio": {name: round(value / milliseconds[base], 3) for name, value in milliseconds.items()},
                "peak MiB": mebibytes[classes],
                "peak ratio": {name: round(value / mebibytes[classes][base], 3) for name, value in mebibytes[classes].items()},
            }
        result["contour"] = contours_of_regions(options) if options.regions else contours_of_labels(options)
        if not options.regions and not options.no_authors:
            slow = result["loss"][str(options.classes[0])]["milliseconds"]
            result["authors' way / ours"] = round(slow[AUTHORS] / slow["CWCD"], 1)
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
