"""Time and memory of one training step, as ratios to nnU-Net's own trainer.

    python benchmarks/step_time.py nnUNetTrainerFESS nnUNetTrainerSupCon --size 128 128 128 --device cuda --json out.json

A step is nnU-Net's `train_step`: forward, loss, backward, optimizer. All trainers run in one process on the same batch, one
step each in turn, so that whatever else slows the machine slows all of them; a ratio is the median over the rounds of (this
trainer's step) / (nnUNetTrainer's step of the same round). On a CPU time is the processor's, of all threads together: what
other programs take of it does not count. Memory is the peak of a process of its own per trainer: what PyTorch
allocated on a GPU; on a CPU the growth of the resident set, which differs by a tenth from process to process: the median of
several. No dataset is needed: images are noise, labels are blocks.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_fess import machine
from nnunet_fess.trainers import build

REFERENCE = "nnUNetTrainer"
# nnU-Net pools an axis while both sides of it stay at least this long.
SMALLEST = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainers", nargs="+", help="names, with or without options, such as nnUNetTrainerSupCon_level2")
    parser.add_argument("--size", type=int, nargs="+", default=[128] * 3, help="voxels per axis (default: 128 128 128)")
    parser.add_argument("--classes", type=int, default=4, help="background included (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--features", type=int, nargs="+", default=[32, 64, 128, 256, 320, 320], help="per stage (nnU-Net's)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=20, help="measured steps per trainer (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before that (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=5, help="per trainer, for memory on a CPU (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args(argv)
    names = [REFERENCE, *dict.fromkeys(name for name in options.trainers if name != REFERENCE)]
    try:
        for name in names:
            trainer_class(name)
    except ValueError as error:
        parser.error(str(error))
    if len(options.size) not in (2, 3) or min(options.size) < SMALLEST * 2:
        parser.error(f"--size takes 2 or 3 numbers of at least {SMALLEST * 2}. Got: {options.size}")
    if len(options.features) < 3:
        parser.error(f"--features takes at least 3 stages: nnU-Net leaves out the coarsest output. Got: {options.features}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device. Use --device cpu.")
    report = measure(names, options)
    print(as_table(report))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")
        print(f"wrote {options.json}")
    return 0


def trainer_class(name: str) -> type[nnUNetTrainer]:
    """nnU-Net's trainer or one of ours.

    Raises:
        ValueError: neither.
    """
    return nnUNetTrainer if name == REFERENCE else build(name)


def measure(names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Steps and memory of all trainers, the reference first; what they were measured with and on."""
    # What PyTorch allocates on a GPU is the same every time.
    turns = 1 if options.device == "cuda" else options.processes
    measured = [{name: peak_memory(name, options) for name in names} for _ in range(turns)]
    peaks = {name: statistics.median(turn[name] for turn in measured) for name in names}
    seconds = step_times(names, options)
    results = []
    for name in names:
        ratios = [ours / theirs for ours, theirs in zip(seconds[name], seconds[REFERENCE], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        results.append(
            {
                "trainer": name,
                "seconds": statistics.median(seconds[name]),
                "time_ratio": statistics.median(ratios),
                "time_ratio_quartiles": [low, high],
                "peak_bytes": peaks[name],
                "memory_ratio": peaks[name] / peaks[REFERENCE],
            }
        )
    settings = {key: value for key, value in vars(options).items() if key not in ("json", "trainers")}
    return {"settings": settings, "machine": provenance(options.device), "results": results}


def step_times(names: Sequence[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of every measured step, one of each trainer per round, in an order that turns."""
    with nnunet_folders() as folder:
        trainers = {name: make_trainer(name, options, folder) for name in names}
        batches = {name: make_batch(trainer, options) for name, trainer in trainers.items()}
        seconds: dict[str, list[float]] = {name: [] for name in names}
        for number in range(options.warmup + options.rounds):
            shift = number % len(names)
            for name in (*names[shift:], *names[:shift]):
                taken = step(trainers[name], batches[name], options.device)
                if number >= options.warmup:
                    seconds[name].append(taken)
    return seconds


def step(trainer: nnUNetTrainer, batch: dict[str, Any], device: str) -> float:
    """Seconds of one step: of the clock on a GPU, of the processor on a CPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    synchronise(device)
    start = clock()
    trainer.train_step(batch)
    synchronise(device)
    return clock() - start


def peak_memory(name: str, options: argparse.Namespace) -> int:
    """Bytes at the peak of some steps, above what the process held before; in a new process, which has held nothing else."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (name, options))


def _peak_memory(name: str, options: argparse.Namespace) -> int:
    trainer_class(name)  # imports libraries, which are no memory of the steps
    before = _peak_resident()
    with nnunet_folders() as folder:
        trainer = make_trainer(name, options, folder)
        batch = make_batch(trainer, options)
        for _ in range(max(2, options.warmup)):
            trainer.train_step(batch)
    return torch.cuda.max_memory_allocated() if options.device == "cuda" else _peak_resident() - before


def _peak_resident() -> int:
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage carries the parent's peak into a new process
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


@contextlib.contextmanager
def nnunet_folders() -> Iterator[Path]:
    """The folders nnU-Net insists on, with an empty preprocessed dataset; nothing of the user's is touched."""
    with tempfile.TemporaryDirectory() as name:
        for variable in ("raw", "preprocessed", "results"):
            os.environ[f"nnUNet_{variable}"] = f"{name}/{variable}"
        folder = Path(name, "preprocessed", "Dataset999_Benchmark", "benchmark")
        folder.mkdir(parents=True)
        (folder / "case.b2nd").touch()  # nnU-Net infers its storage class from the files' names
        yield Path(name)


def make_trainer(name: str, options: argparse.Namespace, folder: Path) -> nnUNetTrainer:
    """A trainer as nnU-Net makes it, ready for steps."""
    labels = {"background": 0, **{f"class {label}": label for label in range(1, options.classes)}}
    dataset = {"channel_names": {"0": "noise"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    with contextlib.redirect_stdout(io.StringIO()):  # the citation, once per trainer
        trainer = trainer_class(name)(
            plans=make_plans(options), configuration="3d", fold=0, dataset_json=dataset, device=torch.device(options.device)
        )
        trainer.initialize()
    trainer.network.train()
    return trainer


def make_plans(options: argparse.Namespace) -> dict[str, Any]:
    """nnU-Net's default network (PlainConvUNet, two convolutions per stage) at the size and features asked for."""
    dim, stages = len(options.size), len(options.features)
    strides = [[1] * dim]
    size = list(options.size)
    for _ in range(stages - 1):
        strides.append([2 if length % 2 == 0 and length // 2 >= SMALLEST else 1 for length in size])
        size = [length // stride for length, stride in zip(size, strides[-1], strict=True)]
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": stages,
            "features_per_stage": options.features,
            "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
            "kernel_sizes": [[3] * dim] * stages,
            "strides": strides,
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "benchmark",
        "batch_size": options.batch,
        "patch_size": list(options.size),
        "spacing": [1.0] * dim,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": architecture,
        "batch_dice": False,
    }
    return {
        "dataset_name": "Dataset999_Benchmark",
        "plans_name": "benchmark",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "configurations": {"3d": configuration},
        "continue_training": False,
    }


def make_batch(trainer: nnUNetTrainer, options: argparse.Namespace) -> dict[str, Any]:
    """What nnU-Net's loader would give: an image of noise, labels in blocks of 8, one target per scale."""
    generator = torch.Generator().manual_seed(0)
    blocks = [max(1, length // 8) for length in options.size]
    coarse = torch.randint(0, options.classes, (options.batch, 1, *blocks), generator=generator).float()
    scales = trainer._get_deep_supervision_scales() or [[1] * len(options.size)]
    sizes = [[round(n * s) for n, s in zip(options.size, scale, strict=True)] for scale in scales]
    targets = [torch.nn.functional.interpolate(coarse, size).to(torch.int16) for size in sizes]
    image = torch.randn((options.batch, 1, *options.size), generator=generator)
    return {"data": image, "target": targets if trainer.enable_deep_supervision else targets[0]}


def provenance(device: str) -> dict[str, Any]:
    """Where the numbers come from."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else machine.processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "compiled": device == "cuda" and os.environ.get("nnUNet_compile", "t").lower() in ("true", "1", "t"),
        "versions": {package: version(package) for package in ("torch", "nnunetv2", "nnunet-fess")},
        "python": platform.python_version(),
        "commit": machine.commit(Path(__file__).parent),
    }


def as_table(report: dict[str, Any]) -> str:
    """The results as people read them."""
    width = max(len(result["trainer"]) for result in report["results"])
    lines = [f"{'trainer':<{width}}  {'ms/step':>9}  {'time':>6}  {'quartiles':>13}  {'peak MiB':>9}  {'memory':>6}"]
    for result in report["results"]:
        low, high = result["time_ratio_quartiles"]
        lines.append(
            f"{result['trainer']:<{width}}  {1000 * result['seconds']:9.1f}  {result['time_ratio']:6.3f}  "
            f"{low:6.3f}-{high:6.3f}  {result['peak_bytes'] / 2**20:9.1f}  {result['memory_ratio']:6.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
