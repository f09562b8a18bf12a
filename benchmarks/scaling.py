"""How long a study takes on 1, 8 and 100 GPUs: measured job lengths, a simulated queue.

    python benchmarks/scaling.py [--runs RUNS.csv] [--jobs 45] [--wait 0 600] [--limit SECONDS] [--json OUT]

Without --runs, the lengths are those of the demo's three trainings on two busy cores, in seconds; with it, those of a study's
finished runs. They are repeated until there are --jobs. A job begins when a GPU is free and its wait in the queue, drawn from
an exponential distribution, is over; a time limit cuts a job into slices, each of which loses the time between the signal and
the limit, and waits for SLURM's two minutes and in the queue again. Nothing is trained, no SLURM is needed.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import itertools
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_fess import files

DEMO = (872.2, 412.5, 436.9)  # seconds: DiceCE, FESS, CWCD of `nnunet_fess demo`, one after the other on two cores
REQUEUE = 121.0  # seconds until a requeued job may begin: measured with SLURM 22.05, whatever requeue_delay says
START = 3.0  # seconds of a job until its training begins: measured on two busy cores


def simulate(
    lengths: Sequence[float],
    gpus: int,
    wait: float = 0.0,
    limit: float | None = None,
    lead: float = 600.0,
    before: float = 0.0,
    after: float = 0.0,
    seed: int = 0,
) -> dict[str, float]:
    """Seconds until a study is done, and what of them its GPUs computed.

    Args:
        lengths: seconds of each training, in the order in which they are submitted.
        gpus: how many jobs run at once.
        wait: mean seconds that a job waits in the queue for others' jobs.
        limit: seconds after which a job has to be submitted anew; None for no limit.
        lead: seconds before the limit at which a training stops.
        before: seconds of preparation, which all wait for.
        after: seconds of evaluation, which waits for all.
        seed: of the waits.

    Raises:
        ValueError: the limit is not longer than the lead and the start.
    """
    if limit is not None and limit - lead - START <= 0:
        raise ValueError(f"a limit of {limit:g} s leaves no time for training: {lead:g} s of lead, {START:g} s of start")
    slice_ = float("inf") if limit is None else limit - lead - START
    draw = random.Random(seed)
    order = itertools.count()
    # when it may begin, order of submission, seconds left
    queue = [(before + (draw.expovariate(1 / wait) if wait else 0.0), next(order), length) for length in lengths]
    heapq.heapify(queue)
    free = [before] * gpus
    heapq.heapify(free)
    end = busy = 0.0
    while queue:
        ready, _, left = heapq.heappop(queue)
        begin = max(ready, heapq.heappop(free))
        done = min(left, slice_)
        stop = begin + START + done
        busy += START + done
        heapq.heappush(free, stop)
        end = max(end, stop)
        if left > done:
            again = stop + REQUEUE + (draw.expovariate(1 / wait) if wait else 0.0)
            heapq.heappush(queue, (again, next(order), left - done))
    return {"seconds": round(end + after, 1), "share of the GPUs' time": round(busy / (gpus * (end + after)), 3)}


def measured(runs: Path) -> list[float]:
    """Seconds of a study's finished runs."""
    with runs.open(encoding="utf-8", newline="") as table:
        return [float(row["seconds"]) for row in csv.DictReader(table) if row["status"] == "finished"]


def main() -> int:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, metavar="RUNS.csv")
    parser.add_argument("--jobs", type=int, default=45, help="default: 3 trainers, 3 seeds, 5 folds")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 100])
    parser.add_argument("--wait", type=float, nargs="+", default=[0.0, 600.0], help="mean seconds in the queue")
    parser.add_argument("--limit", type=float, metavar="SECONDS")
    parser.add_argument("--before", type=float, default=60.0, help="seconds of preparation")
    parser.add_argument("--after", type=float, default=60.0, help="seconds of evaluation and report")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    lengths = measured(args.runs) if args.runs else list(DEMO)
    if not lengths:
        parser.error(f"{args.runs} has no finished run")
    lengths = list(itertools.islice(itertools.cycle(lengths), args.jobs))
    lead = 600.0 if args.limit is None else min(600.0, max(args.limit / 4, 90.0))
    rows: list[dict[str, Any]] = []
    for wait in args.wait:
        alone = None
        for gpus in args.gpus:
            row = simulate(lengths, gpus, wait, args.limit, lead, args.before, args.after)
            alone = alone or row["seconds"]
            rows.append({"wait": wait, "GPUs": gpus, **row, "times faster": round(alone / row["seconds"], 1)})
            print("  ".join(f"{name}: {value:g}" for name, value in rows[-1].items()))
    if args.json:
        known = {"lengths": lengths, "limit": args.limit, "before": args.before, "after": args.after, "requeue": REQUEUE}
        files.write_json(args.json, {**known, "start": START, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
