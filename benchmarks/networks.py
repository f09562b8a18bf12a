"""Parameters, time and memory of the networks that plans can name, beside nnU-Net's own U-Net.

    python benchmarks/networks.py --size 64 64 64 --device cpu --json benchmarks/results/networks_cpu.json

Each is trained by `nnUNetTrainerDiceCE`, as `step_time.py` trains: one step of each in turn in one process, ratios to the
U-Net's step of the same round, memory in a process of its own. The U-Net is nnU-Net's default with deep supervision.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import step_time
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_fess.networks.catalogue import NETWORKS

REFERENCE, TRAINER = "unet", "nnUNetTrainerDiceCE"
NAMES = (REFERENCE, *NETWORKS)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[64] * 3, help="voxels per axis (default: 64 64 64)")
    parser.add_argument("--classes", type=int, default=4, help="background included (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--features", type=int, nargs="+", default=[32, 64, 128, 256, 320], help="of the U-Net, per stage")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=5, help="measured steps per network (default: %(default)s)")
    parser.add_argument("--warmup", type=int, default=1, help="steps before that (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args(argv)
    report = measure(options)
    print(as_table(report))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def make_trainer(network: str, options: argparse.Namespace, folder: Path) -> nnUNetTrainer:
    """The trainer with the network in its plans."""
    if network == REFERENCE:
        return step_time.make_trainer(TRAINER, options, folder)
    planned = step_time.make_plans

    def with_network(options: argparse.Namespace) -> dict[str, Any]:
        plans = planned(options)
        plans["configurations"]["3d"]["architecture"] = NETWORKS[network].architecture(options.size)
        return plans

    step_time.make_plans = with_network
    try:
        return step_time.make_trainer(TRAINER, options, folder)
    finally:
        step_time.make_plans = planned


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All networks: parameters, nnU-Net's feature map size, seconds, peak memory."""
    peaks = {name: peak_memory(name, options) for name in NAMES}
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}
    facts = {}
    with step_time.nnunet_folders() as folder:
        trainers = {name: make_trainer(name, options, folder) for name in NAMES}
        batches = {name: step_time.make_batch(trainer, options) for name, trainer in trainers.items()}
        for name, trainer in trainers.items():
            network = getattr(trainer.network, "_orig_mod", trainer.network)
            facts[name] = {
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "feature_map_size": int(network.compute_conv_feature_map_size(options.size)),
            }
        for number in range(options.warmup + options.rounds):
            shift = number % len(NAMES)
            for name in (*NAMES[shift:], *NAMES[:shift]):
                taken = step_time.step(trainers[name], batches[name], options.device)
                if number >= options.warmup:
                    seconds[name].append(taken)
    ratios = {name: [a / b for a, b in zip(seconds[name], seconds[REFERENCE], strict=True)] for name in NAMES}
    results = [
        {
            "network": name,
            **facts[name],
            "seconds": statistics.median(seconds[name]),
            "time_ratio": statistics.median(ratios[name]),
            "time_ratio_range": [min(ratios[name]), max(ratios[name])],
            "peak_bytes": peaks[name],
            "memory_ratio": peaks[name] / peaks[REFERENCE],
        }
        for name in NAMES
    ]
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    return {"settings": settings, "machine": step_time.provenance(options.device), "results": results}


def peak_memory(network: str, options: argparse.Namespace) -> int:
    """Bytes at the peak of two steps, in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory, (network, options))


def _peak_memory(network: str, options: argparse.Namespace) -> int:
    if network != REFERENCE:
        NETWORKS[network].architecture(options.size)
    before = step_time._peak_resident()
    with step_time.nnunet_folders() as folder:
        trainer = make_trainer(network, options, folder)
        batch = step_time.make_batch(trainer, options)
        for _ in range(2):
            trainer.train_step(batch)
    return torch.cuda.max_memory_allocated() if options.device == "cuda" else step_time._peak_resident() - before


def as_table(report: dict[str, Any]) -> str:
    """The results as people read them, in Markdown."""
    lines = ["| network | parameters | step | against the U-Net | peak memory |", "|---|---|---|---|---|"]
    for result in report["results"]:
        lines.append(
            f"| `{result['network']}` | {result['parameters'] / 1e6:.1f} M | {result['seconds']:.2f} s "
            f"| {result['time_ratio']:.2f} | {result['memory_ratio']:.2f} × |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
