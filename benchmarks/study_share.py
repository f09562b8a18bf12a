"""What a job's share of the cores is worth: trainings side by side, as nnU-Net starts them and as `study run` does.

    python benchmarks/study_share.py [--jobs 2] [--steps 6] [--limit 120]

Each job is a process that trains a small 3-D network on a CPU after `torch.set_num_threads(multiprocessing.cpu_count())`, which
is how `nnUNetv2_train -device cpu` begins. Printed: the median step of the slowest job, and the loss, which must be the same.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from nnunet_fess import machine
from nnunet_fess.processes import share

JOB = """
import multiprocessing, statistics, sys, time
import torch
torch.set_num_threads(multiprocessing.cpu_count())
torch.manual_seed(0)
layers = [(1, 12), (12, 24), (24, 24), (24, 3)]
blocks = [
    (torch.nn.Conv3d(a, b, 3, padding=1), torch.nn.InstanceNorm3d(b, affine=True), torch.nn.LeakyReLU()) for a, b in layers
]
network = torch.nn.Sequential(*(layer for block in blocks for layer in block))
optimizer = torch.optim.SGD(network.parameters(), 1e-2)
image = torch.randn(2, 1, 32, 40, 32)
times = []
for _ in range(int(sys.argv[1])):
    begin = time.perf_counter()
    loss = (network(image) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    times.append(time.perf_counter() - begin)
print(statistics.median(times[1:]), f"{loss.item():.6f}")
"""


def side_by_side(environment: dict[str, str], jobs: int, steps: int, limit: float) -> tuple[float, str]:
    """Median seconds of a step of the slowest job, at least those of the limit if it was not ready by then; its loss."""
    begin = time.monotonic()
    command = [sys.executable, "-c", JOB, str(steps)]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(jobs)]
    found = []
    for process in running:
        try:
            out, _ = process.communicate(timeout=max(0.1, limit - (time.monotonic() - begin)))
            seconds, loss = out.split()
            found.append((float(seconds), loss))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            found.append((limit / steps, "not ready"))
    return max(found)


def main() -> int:
    """Measure in turns; print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120, help="seconds after which a measurement is given up")
    args = parser.parse_args()
    cores = machine.cores()
    plain = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    shared = {**plain, **share.of_cores(max(1, cores // args.jobs), plain)}
    alone = {**plain, **share.of_cores(cores, plain)}
    ways = {
        "one alone, all cores": (alone, 1),
        "as nnU-Net starts them": (plain, args.jobs),
        "each its share": (shared, args.jobs),
    }
    found: dict[str, list[tuple[float, str]]] = {name: [] for name in ways}
    for _ in range(args.turns):
        for name, (environment, jobs) in ways.items():
            found[name].append(side_by_side(environment, jobs, args.steps, args.limit))
    print(f"{machine.processor()}, {cores} cores, {args.jobs} jobs side by side")
    for name, values in found.items():
        print(f"  {name:<24} {statistics.median(value for value, _ in values):7.2f} s a step, loss {values[-1][1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
