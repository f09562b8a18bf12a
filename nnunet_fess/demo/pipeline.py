"""The whole path, from the download to the table, through the commands a user would type."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_fess.demo import overlay, report
from nnunet_fess.demo.phantom import PATIENTS, write_download
from nnunet_fess.demo.trainers import DemoTrainer
from nnunet_fess.demo.workdir import RESULTS, Workdir
from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.processes.programs import search_path
from nnunet_fess.processes.shell import Shell

DATASET = "517"
CONFIGURATION = "3d_fullres"
PLANS = "nnUNetPlansCPU"
PATCH = "24,32,24"
FOLD = "0"
LOG = "demo.log"
INTERMEDIATE = ("download", "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "predictions")
_PROGRAMS = (
    "nnunet_fess",
    "nnUNetv2_plan_and_preprocess",
    "nnUNetv2_train",
    "nnUNetv2_predict",
    "nnUNetv2_evaluate_folder",
)


def environment(workdir: Path, cores: int) -> dict[str, str]:
    """The variables that the demo's commands need.

    Args:
        workdir: where nnU-Net's three folders are.
        cores: how many processor cores there are to share.
    """
    return {
        **{name: str(workdir / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")},
        VARIABLE: str(DIRECTORY),
        # The network needs the cores too; nnU-Net's planner fails at 0.
        "nnUNet_n_proc_DA": str(max(1, min(cores - 1, 8))),
        # A further worker takes longer to start than these volumes take.
        "nnUNet_def_n_proc": "1",
        # By default waiting threads burn their core; where other programs run too, that makes training several times slower.
        "OMP_WAIT_POLICY": "PASSIVE",
        # Compiling takes longer than the demo's few steps; a user's own wandb account is none of the demo's business.
        "nnUNet_compile": "f",
        "nnUNet_wandb_enabled": "0",
    }


def program_path() -> str:
    """A search path that holds all programs, those of this very installation first.

    Raises:
        UserError: one is missing.
    """
    return search_path(_PROGRAMS)


def prepare(workdir: Workdir, seed: int, cores: int) -> None:
    """Make the phantom, convert, plan and preprocess it, and leave it at that: data for trainings and studies of one's own.

    Args:
        workdir: claimed, hence empty of what an earlier demo made.
        seed: of phantom and split.
        cores: how many processor cores to use.

    Raises:
        UserError: a stage failed.
    """
    folders = {name: workdir.new(name) for name in ("download", "nnUNet_raw", "nnUNet_preprocessed")}
    variables, shell, _ = _begin(workdir, cores)
    _prepare(shell, folders["download"], folders["nnUNet_raw"], seed, variables["nnUNet_def_n_proc"])


def _begin(workdir: Workdir, cores: int) -> tuple[dict[str, str], Shell, list[str]]:
    """Variables of the demo's commands, what runs them, and the lines that set them in a user's shell, which are shown."""
    variables = environment(workdir.path, cores)
    shell = Shell(workdir.new(LOG), {**variables, "PATH": program_path()})
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    print("All commands below run with these variables:", *(f"  {line}" for line in exports), sep="\n")
    return variables, shell, exports


def _prepare(shell: Shell, folder: Path, raw: Path, seed: int, workers: str) -> Path:
    """From the phantom to what can be trained on; the raw dataset's folder."""
    print(f"\nMake a phantom download of {len(PATIENTS)} patients in BraTS 2017's layout", flush=True)
    download = write_download(folder, seed)
    print(f"  {download}")
    raw.mkdir()
    convert = ["nnunet_fess", "convert", "brats2017", str(download), "-d", DATASET]
    shell.run("Convert it to nnU-Net's format", [*convert, "--test-fraction", "0.25", "--seed", str(seed), "-np", workers])
    dataset = next(raw.glob(f"Dataset{DATASET}_*"))
    # No --verify_dataset_integrity, which a dataset from another source would deserve: the converter has read every voxel.
    plan = ["nnUNetv2_plan_and_preprocess", "-d", DATASET, "-c", CONFIGURATION]
    shell.run("Plan and preprocess", [*plan, "-npfp", workers, "-np", workers])
    shell.run("Cut the plans down to the size of the demo", ["nnunet_fess", "cpu-plans", DATASET, "--patch-size", PATCH])
    return dataset


def run(workdir: Workdir, trainers: Sequence[DemoTrainer], device: str, seed: int, cores: int) -> dict[str, report.Score]:
    """Run all stages and write results, pictures and log into the working directory.

    Args:
        workdir: claimed, hence empty of what an earlier demo made.
        trainers: what to compare.
        device: "cpu" or "cuda".
        seed: of phantom and split.
        cores: how many processor cores to use.

    Returns:
        Trainer's short name → results.

    Raises:
        UserError: a stage failed.
    """
    start = time.monotonic()
    folders = {name: workdir.new(name) for name in INTERMEDIATE}
    variables, shell, exports = _begin(workdir, cores)
    workers = variables["nnUNet_def_n_proc"]
    dataset = _prepare(shell, folders["download"], folders["nnUNet_raw"], seed, workers)
    plans = folders["nnUNet_preprocessed"] / dataset.name / f"{PLANS}.json"

    scores, predictions = {}, {}
    for trainer in trainers:
        model = ["-p", PLANS, "-tr", trainer.full_name, "-device", device]
        shell.run(f"Train {trainer.name}", ["nnUNetv2_train", DATASET, CONFIGURATION, FOLD, *model], trainer.epochs)
        predicted = predictions[trainer.name] = folders["predictions"] / trainer.name
        predict = ["nnUNetv2_predict", "-i", str(dataset / "imagesTs"), "-o", str(predicted), "-d", DATASET]
        shell.run(
            "Predict the held-out patients", [*predict, "-c", CONFIGURATION, "-f", FOLD, *model, "-npp", "0", "-nps", "0"]
        )
        evaluate = ["nnUNetv2_evaluate_folder", str(dataset / "labelsTs"), str(predicted)]
        files = ["-djfile", str(dataset / "dataset.json"), "-pfile", str(plans)]
        shell.run("Evaluate", [*evaluate, *files, "-np", workers])
        fold = f"{trainer.full_name}__{PLANS}__{CONFIGURATION}/fold_{FOLD}"
        scores[trainer.name] = report.Score(
            report.mean_dice(predicted / "summary.json", dataset / "dataset.json"),
            report.seconds_per_step(folders["nnUNet_results"] / dataset.name / fold),
        )

    labels = sorted((dataset / "labelsTs").glob("*.nii.gz"))
    for label in labels:
        case = label.name.removesuffix(".nii.gz")
        overlay.draw_case(dataset, case, predictions, workdir.new(f"overlay_{case}.png"))
    context: dict[str, Any] = {
        "trained_as": {trainer.name: trainer.full_name for trainer in trainers},
        "data": f"phantoms, {len(labels)} of {len(PATIENTS)} held out for the test",
        "seconds_per_step_is": "median epoch time of nnU-Net's log / training iterations per epoch; other programs count",
        "device": device,
        "cores": cores,
        "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
        "versions": {name: version(name) for name in ("nnunet-fess", "nnunetv2", "torch")},
        "commands": [*exports, *shell.commands],
    }
    report.write_results(workdir.new(RESULTS), scores, context)
    return scores
