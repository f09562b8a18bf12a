"""What `study run` costs beside the nnU-Net commands that it runs, and how fast the status of many runs is read.

    python benchmarks/study_cost.py FILE [--bare] [--json OUT]     # prepared, not run yet
    python benchmarks/study_cost.py --phantom                      # 12 short trainings of the demo's phantom by nnU-Net
    python benchmarks/study_cost.py --sleep 20                     # 12 runs whose commands only sleep
    python benchmarks/study_cost.py --status 500

The first runs the study and prints how much of its time was not spent in nnU-Net's commands, the guards of these counted as
outside, and what the study's own process computed meanwhile. With --bare the same commands then run once more, one after the
other from this script, into a folder of their own; on a machine that others use, too, the two walls differ by their noise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnunet_fess import files, machine
from nnunet_fess.processes.guarded import Guarded, end
from nnunet_fess.study.config import load
from nnunet_fess.study.jobs import jobs
from nnunet_fess.study.local import PAUSE
from nnunet_fess.study.results import Run, Step, read_runs, write_run
from nnunet_fess.study.run import run_study


def cost(file: Path, bare: bool) -> dict[str, Any]:
    """Run the study, in this process, and say where the time went."""
    study = load(file)
    if study.results.exists():
        raise SystemExit(f"{study.results} exists; the cost is that of a whole study. Move it.")
    begin, before = time.monotonic(), time.process_time()
    run_study(study)
    wall, own = time.monotonic() - begin, time.process_time() - before
    runs = read_runs(study.results)
    steps = [step for run in runs for step in run.steps]
    commands = sum(step.seconds for step in steps)
    hidden = len(steps) * guarded_seconds()
    found: dict[str, Any] = {
        "runs": len(runs),
        "commands": len(steps),
        "seconds": round(wall, 2),
        "seconds in nnU-Net's commands": round(commands - hidden, 2),
        "seconds outside": round(wall - commands + hidden, 2),
        "share outside": round((wall - commands + hidden) / wall, 4),
        "processor seconds of the study's own process": round(own, 2),
    }
    if bare:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            for run in runs:
                variables = {**os.environ, **run.environment, "nnUNet_results": folder}
                for step in run.steps:
                    subprocess.run(shlex.split(step.command), env=variables, check=True, stdout=subprocess.DEVNULL)
        found["seconds of the bare commands"] = round(time.monotonic() - begin, 2)
    return found


@contextlib.contextmanager
def phantom() -> Iterator[Path]:
    """A study of 12 real runs on the demo's phantom, prepared: three losses, four seeds, two iterations each, validation."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        demo = [sys.executable, "-m", "nnunet_fess", "demo", "--data-only", "--workdir", str(root / "phantom")]
        subprocess.run(demo, check=True)
        os.environ |= {folder: str(root / "phantom" / folder) for folder in ("nnUNet_raw", "nnUNet_preprocessed")}
        os.environ |= {"nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}
        path = root / "study.yaml"
        path.write_text(
            "name: short\ndataset: 517\nplans: nnUNetPlansCPU\ndevice: cpu\ntrainers: [DiceCE, CWCD, Dice]\n"
            "options: 1epochs_2iters_1valiters_noMirroring\nseeds: [0, 1, 2, 3]\n"
        )
        yield path


SLEEPER = """#!/bin/sh
# nnUNetv2_train DATASET CONFIGURATION FOLD -p PLANS -tr TRAINER ...
sleep {seconds}
fold="$nnUNet_results/Dataset999_Slept/$7__$5__$2/fold_$3"
mkdir -p "$fold/validation"
cp {checkpoint} "$fold/checkpoint_final.pth"
echo '{{}}' > "$fold/validation/summary.json"
touch {cases}
"""


@contextlib.contextmanager
def sleeping(seconds: float) -> Iterator[Path]:
    """A study of 12 runs on a dataset and with an `nnUNetv2_train` that cost nothing; the machine's noise is not theirs."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data = root / "preprocessed" / "Dataset999_Slept"
        cases = [f"case{number}" for number in range(10)]
        for folder in ("data", "gt_segmentations"):
            (data / folder).mkdir(parents=True)
        for case in cases:
            (data / "data" / f"{case}.pkl").touch()
            (data / "gt_segmentations" / f"{case}.nii.gz").touch()
        labels = {"background": 0, "part": 1}
        files.write_json(data / "dataset.json", {"channel_names": {"0": "MR"}, "labels": labels, "file_ending": ".nii.gz"})
        files.write_json(data / "dataset_fingerprint.json", {})
        configurations = {"3d_fullres": {"data_identifier": "data"}}
        files.write_json(data / "nnUNetPlans.json", {"plans_name": "nnUNetPlans", "configurations": configurations})
        files.write_json(data / "splits_final.json", [{"train": cases[:8], "val": cases[8:]}])
        with zipfile.ZipFile(root / "checkpoint", "w") as archive:
            archive.writestr("weights", "")
        program = root / "bin" / "nnUNetv2_train"
        program.parent.mkdir()
        made = " ".join(f'"$fold/validation/{case}.nii.gz"' for case in cases[8:])
        program.write_text(SLEEPER.format(seconds=seconds, checkpoint=root / "checkpoint", cases=made))
        program.chmod(0o755)
        os.environ |= {"PATH": f"{program.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        os.environ |= {"nnUNet_preprocessed": str(root / "preprocessed")}
        path = root / "study.yaml"
        path.write_text("name: slept\ndataset: 999\ndevice: cpu\ntrainers: [DiceCE, CWCD, Dice]\nseeds: [0, 1, 2, 3]\n")
        yield path


def guarded_seconds() -> float:
    """How much longer a command takes with its guard, seen by a look every so often, than without; median of 20."""
    longer = []
    for _ in range(20):
        begin = time.monotonic()
        subprocess.run(["true"], check=True)
        middle = time.monotonic()
        with open(os.devnull, "ab") as nowhere:  # noqa: PTH123
            command = Guarded(["true"], nowhere, os.environ)
            while command.poll() is None:
                time.sleep(PAUSE)
            end([command])
        longer.append(time.monotonic() - middle - (middle - begin))
    return statistics.median(longer)


def status(number: int) -> tuple[float, float]:
    """What `study status` takes for so many runs, start of Python included: fastest wall of five, median of processor time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.yaml"
        seeds = ", ".join(map(str, range(-(-number // 10))))
        path.write_text(f"name: many\ndataset: 1\ntrainers: [Dice, CE]\nfolds: [0, 1, 2, 3, 4]\nseeds: [{seeds}]\n")
        study = load(path)
        step = Step(
            "nnUNetv2_train 1 3d_fullres 0 -p nnUNetPlans -tr nnUNetTrainer", "2026-01-01T00:00:00+00:00", 1000.0, 0, 9000.0
        )
        known = {"plans": "nnUNetPlans", "content of the plans": "0" * 16, "training cases": "0" * 16, "images": "0" * 16}
        for job in jobs(study):
            run = Run(
                id=job.id,
                dataset="Dataset001_A",
                configuration="3d_fullres",
                plans="nnUNetPlans",
                trainer=job.trainer.label,
                trainer_name=job.trainer_name,
                seed=job.seed,
                fold=job.subset.fold,
                size="all",
                repeat=0,
                nnunet_fold=0,
                training_cases=100,
                status="finished",
                steps=(step,),
                made_of=known,
                environment=dict.fromkeys("abcdefgh", "x" * 60),
            )
            write_run(study.results, run)
        walls, computed = [], []
        for _ in range(5):
            begin, before = time.monotonic(), os.times()
            subprocess.run([sys.executable, "-m", "nnunet_fess", "study", "status", str(path)], check=True)
            after = os.times()
            walls.append(time.monotonic() - begin)
            computed.append(after.children_user + after.children_system - before.children_user - before.children_system)
        return min(walls), statistics.median(computed)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE")
    parser.add_argument("--bare", action="store_true", help="run the commands alone, too")
    parser.add_argument("--status", type=int, metavar="N", help="read the status of so many runs instead")
    parser.add_argument("--sleep", type=float, metavar="SECONDS", help="12 runs of that length that compute nothing instead")
    parser.add_argument("--phantom", action="store_true", help="12 short trainings of the demo's phantom instead")
    parser.add_argument("--json", type=Path, metavar="OUT")
    args = parser.parse_args()
    if args.status:
        wall, computed = status(args.status)
        found: dict[str, Any] = {
            "runs": args.status,
            "seconds of study status": round(wall, 2),
            "processor seconds": round(computed, 2),
        }
    elif args.sleep:
        with sleeping(args.sleep) as path:
            found = cost(path, args.bare)
    elif args.phantom:
        with phantom() as path:
            found = cost(path, args.bare)
    elif args.file:
        found = cost(args.file, args.bare)
    else:
        parser.error("FILE, --phantom, --sleep or --status")
    found |= {"machine": machine.processor(), "cores": machine.cores(), "commit": machine.commit(Path(__file__).parent)}
    for name, value in found.items():
        print(f"{name}: {value}")
    if args.json:
        files.write_json(args.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
