"""What looking at every voxel costs: our conversion against nnU-Net's own BraTS script's way, on the same core.

    python benchmarks/conversion.py [--cases 6] [--rounds 15] [--source DIR] [--out conversion.json]

nnU-Net's way (`Dataset137_BraTS21.py`) copies four files of a case and remaps the label without reading the images. Ours
inflates and judges all five files, remaps the label, copies the four, and writes splits and provenance. Both run in one
process on one CPU, alternating, from a warm page cache; the result is the median of the rounds' ratios. `--source` takes
a real BraTS 2017 download instead of the phantom, whose files have the size and the entropy of real ones.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from dataset_conversion.cli import main as convert
from dataset_conversion.report import LIBRARIES
from nnunet_fess.machine import commit, processor, versions

with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net prints what variables are not set; our output is JSON
    from nnunetv2.dataset_conversion.Dataset137_BraTS21 import copy_BraTS_segmentation_and_convert_labels_to_nnUNet

SHAPE = (240, 240, 155)
CHANNELS = ("t1", "t1ce", "t2", "flair")


def phantom(folder: Path, cases: int) -> None:
    """BraTS 2017-like cases: int16 images of 2.4 MB (a sixth of the voxels is brain), a uint8 label."""
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE), indexing="ij"))
    radius = np.sqrt(((grid / np.array([0.62, 0.75, 0.75], np.float32)[:, None, None, None]) ** 2).sum(0))
    for number in range(cases):
        rng = np.random.default_rng(number)
        name = f"Brats17_CBICA_{number:03d}_1"
        (folder / "HGG" / name).mkdir(parents=True)
        distance = np.sqrt(((grid - rng.uniform(-0.2, 0.2, (3, 1, 1, 1)).astype(np.float32)) ** 2).sum(0))
        label = np.zeros(SHAPE, np.uint8)
        for value, size in ((2, 0.35), (1, 0.2), (4, 0.14)):
            label[distance + rng.normal(scale=0.01, size=SHAPE).astype(np.float32) < size] = value
        label[radius >= 1] = 0
        for role in (*CHANNELS, "seg"):
            if role == "seg":
                voxels = label
            else:
                smooth = 600 + 200 * np.cos(5 * grid[0] + number) + 80 * label
                noisy = smooth + rng.normal(scale=40, size=SHAPE)
                voxels = np.where(radius < 1, noisy.clip(1), 0).astype(np.int16)
            image = nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0]))
            path = folder / "HGG" / name / f"{name}_{role}.nii.gz"
            path.write_bytes(gzip.compress(image.to_bytes(), 6, mtime=0))


def ours(source: Path, target: Path, *options: str) -> None:
    """The whole conversion, with every check."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if convert(["brats2017", str(source), "--raw", str(target), "--test-fraction", "0", "-np", "1", *options]):
            raise SystemExit("the conversion failed")


def theirs(source: Path, target: Path) -> None:
    """What `Dataset137_BraTS21.py` does with each case (its folders and its call of `generate_dataset_json` left out)."""
    for kind in ("imagesTr", "labelsTr"):
        (target / kind).mkdir(parents=True)
    for label in sorted(source.rglob("*_seg.nii.gz")):
        case = label.name.removesuffix("_seg.nii.gz")
        for number, channel in enumerate(CHANNELS):
            shutil.copy(label.with_name(f"{case}_{channel}.nii.gz"), target / "imagesTr" / f"{case}_{number:04d}.nii.gz")
        copy_BraTS_segmentation_and_convert_labels_to_nnUNet(str(label), str(target / "labelsTr" / f"{case}.nii.gz"))


def seconds(way: Callable[..., None], source: Path, scratch: Path) -> float:
    """Wall time of one conversion into a new folder."""
    target = Path(tempfile.mkdtemp(dir=scratch))
    started = time.perf_counter()
    way(source, target)
    elapsed = time.perf_counter() - started
    shutil.rmtree(target)
    return elapsed


def compare(source: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """Alternate both ways; which goes first changes with the round."""
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(-1, rounds):
        ways: list[tuple[str, Callable[..., None]]] = [("ours", ours), ("theirs", theirs)]
        for name, way in ways if number % 2 else reversed(ways):
            elapsed = seconds(way, source, scratch)
            if number >= 0:  # the first round warms the page cache
                times[name].append(elapsed)
    cases = len(list(source.rglob("*_seg.nii.gz")))
    ratios = [mine / other for mine, other in zip(times["ours"], times["theirs"], strict=True)]
    quarters = statistics.quantiles(ratios, n=4)
    return {
        "cases": cases,
        "rounds": rounds,
        "ms_per_case": {name: round(statistics.median(values) / cases * 1e3, 1) for name, values in times.items()},
        "ratio_median": round(statistics.median(ratios), 3),
        "ratio_quartiles": [round(quarters[0], 3), round(quarters[2], 3)],
        "largest_process_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def machine() -> dict[str, Any]:
    """Where it ran and what it ran with."""
    return {
        "cpu": processor(),
        "cpus": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": versions(LIBRARIES),
        "commit": commit(Path(__file__).parent),
    }


def main() -> None:
    """Run the comparison and print it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6, help="at least 2, one to train on and one to validate")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--source", type=Path, help="a BraTS 2017 download instead of the phantom")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    chosen = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as scratch:
        source = chosen.source
        if source is None:
            source = Path(scratch) / "Brats17TrainingData"
            # in a process of its own, so that the memory measured is the conversion's
            maker = multiprocessing.get_context("spawn").Process(target=phantom, args=(source, chosen.cases))
            maker.start()
            maker.join()
        result = {**machine(), **compare(source, Path(scratch), chosen.rounds)}
    text = json.dumps(result, indent=2)
    print(text)
    if chosen.out:
        chosen.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
