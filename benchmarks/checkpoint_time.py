"""Time to save and to load a checkpoint, as ratios to nnU-Net's own trainer.

    python benchmarks/checkpoint_time.py nnUNetTrainerDiceCE nnUNetTrainerSupCon --json out.json

Trainers are those of `step_time.py` after one step, so that the optimizer's momentum is saved, too. In every round all save,
then all load; a ratio is the median over the rounds of (this trainer's time) / (nnUNetTrainer's time of the same round). Ours
flush what they save to the disk before it takes its name, which nnU-Net does not do: the column "flushed" is the ratio to
nnU-Net's save with a flush behind it. How long a flush takes is the disk's business: name the folder with --folder.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from step_time import REFERENCE, make_batch, make_trainer, nnunet_folders, provenance, trainer_class


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write the JSON that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainers", nargs="+", help="names, with or without options, such as nnUNetTrainerSupCon_level2")
    parser.add_argument("--features", type=int, nargs="+", default=[32, 64, 128, 256, 320, 320], help="per stage (nnU-Net's)")
    parser.add_argument("--rounds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--folder", type=Path, help="where to save (default: the system's temporary folder)")
    parser.add_argument("--json", type=Path, help="write the results here")
    options = parser.parse_args(argv)
    names = [REFERENCE, *dict.fromkeys(name for name in options.trainers if name != REFERENCE)]
    try:
        for name in names:
            trainer_class(name)
    except ValueError as error:
        parser.error(str(error))
    if len(options.features) < 3:
        parser.error(f"--features takes at least 3 stages: nnU-Net leaves out the coarsest output. Got: {options.features}")
    report = measure(names, options)
    print(as_table(report))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2) + "\n")
        print(f"wrote {options.json}")
    return 0


def measure(names: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and ratios of all trainers, the reference first; what they were measured with and on."""
    network = argparse.Namespace(size=[32] * 3, classes=4, batch=2, features=options.features, device="cpu")
    seconds: dict[str, dict[str, list[float]]] = {name: {"save": [], "load": []} for name in names}
    seconds[REFERENCE]["flushed save"] = []
    with nnunet_folders() as folders, tempfile.TemporaryDirectory(dir=options.folder) as folder:
        trainers = {name: make_trainer(name, network, folders) for name in names}
        for trainer in trainers.values():
            trainer.train_step(make_batch(trainer, network))
        files = {name: str(Path(folder, f"{name}.pth")) for name in names}
        for number in range(options.rounds + 1):  # the first is not measured
            kept = seconds if number else {name: {key: [] for key in kinds} for name, kinds in seconds.items()}
            for name, trainer in trainers.items():
                kept[name]["save"].append(timed(lambda t=trainer, f=files[name]: t.save_checkpoint(f)))  # type: ignore[misc]
                if name == REFERENCE:
                    flush = timed(lambda: flushed(files[REFERENCE]))
                    kept[name]["flushed save"].append(kept[name]["save"][-1] + flush)
            for name, trainer in trainers.items():
                kept[name]["load"].append(timed(lambda t=trainer, f=files[name]: t.load_checkpoint(f)))  # type: ignore[misc]
        size = Path(files[REFERENCE]).stat().st_size
    stock = seconds[REFERENCE]
    results = [
        {
            "trainer": name,
            "save_seconds": statistics.median(kinds["save"]),
            "save_ratio": ratio(kinds["save"], stock["save"]),
            "save_ratio_flushed": ratio(kinds["save"], stock["flushed save"]),
            "load_seconds": statistics.median(kinds["load"]),
            "load_ratio": ratio(kinds["load"], stock["load"]),
        }
        for name, kinds in seconds.items()
    ]
    settings = {"features": options.features, "rounds": options.rounds, "bytes": size}
    return {"settings": settings, "machine": provenance("cpu"), "results": results}


def timed(do: Callable[[], object]) -> float:
    """Seconds that something takes, without what it prints."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        do()
    return time.perf_counter() - start


def flushed(file: str) -> None:
    """Have a file on the disk."""
    descriptor = os.open(file, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Median over the rounds."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def as_table(report: dict[str, Any]) -> str:
    """The results as people read them."""
    width = max(len(result["trainer"]) for result in report["results"])
    lines = [f"{'trainer':<{width}}  {'save s':>7}  {'ratio':>6}  {'flushed':>7}  {'load s':>7}  {'ratio':>6}"]
    lines += [
        f"{result['trainer']:<{width}}  {result['save_seconds']:7.3f}  {result['save_ratio']:6.2f}  "
        f"{result['save_ratio_flushed']:7.2f}  {result['load_seconds']:7.3f}  {result['load_ratio']:6.2f}"
        for result in report["results"]
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
