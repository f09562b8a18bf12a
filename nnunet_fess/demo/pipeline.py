"""The whole path, from the download to the report, through the commands a user would type."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_fess import __version__
from nnunet_fess.demo import overlay, report, study
from nnunet_fess.demo.phantom import PATIENTS, write_download
from nnunet_fess.demo.trainers import DemoTrainer
from nnunet_fess.demo.workdir import RESULTS, Workdir
from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.processes.environment import variables
from nnunet_fess.processes.programs import search_path
from nnunet_fess.processes.shell import Shell

DATASET = "517"
CONFIGURATION = "3d_fullres"
PATCH = "24,32,24"
LOG = "demo.log"
STUDY, STUDY_FILE = "study", "study.yaml"
REPORT = f"{STUDY}/report.html"
_DATA = ("download", "nnUNet_raw", "nnUNet_preprocessed")
INTERMEDIATE = (*_DATA, STUDY)
_PROGRAMS = ("nnunet_fess", "nnUNetv2_plan_and_preprocess", "nnUNetv2_train", "nnUNetv2_predict")


def environment(workdir: Path, cores: int) -> dict[str, str]:
    """The variables that the demo's commands need.

    Args:
        workdir: where nnU-Net's three folders are.
        cores: how many processor cores there are to share.
    """
    return {
        **{name: str(workdir / name) for name in ("nnUNet_raw", "nnUNet_preprocessed")},
        "nnUNet_results": str(workdir / STUDY / "nnUNet_results"),  # where a study keeps its models
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


def made_of(seed: int) -> dict[str, Any]:
    """What the prepared data depend on: an unfinished demo of the same is gone on with."""
    return {"seed": seed, "version": __version__}


def prepare(workdir: Workdir, seed: int, cores: int) -> None:
    """Make the phantom, convert, plan and preprocess it, and leave it at that: data for trainings and studies of one's own.

    Args:
        workdir: claimed.
        seed: of phantom and split.
        cores: how many processor cores to use.

    Raises:
        UserError: a stage failed.
    """
    _prepare(workdir, _begin(workdir, cores), seed)


def run(workdir: Workdir, trainers: Sequence[DemoTrainer], device: str, seed: int, cores: int) -> dict[str, report.Score]:
    """Run all stages and write report, results, pictures and log into the working directory.

    Args:
        workdir: claimed; data that an earlier demo has prepared are taken, and its study is gone on with.
        trainers: what to compare.
        device: "cpu" or "cuda".
        seed: of phantom, split and trainings.
        cores: how many processor cores to use.

    Returns:
        Trainer's short name → results.

    Raises:
        UserError: a stage failed.
    """
    start = time.monotonic()
    shell = _begin(workdir, cores)
    _prepare(workdir, shell, seed)
    (dataset,) = (workdir.path / "nnUNet_raw").glob(f"Dataset{DATASET}_*")
    workdir.new(STUDY)
    file = workdir.new(STUDY_FILE)
    study.write(file, STUDY, trainers, device, seed, cores)
    commands = [f"nnunet_fess study {verb} {shlex.quote(str(file))}" for verb in ("run", "report")]
    with variables(environment(workdir.path, cores)):  # a study takes nnU-Net's folders from the environment
        print(f"\nTrain and predict: a study, {file}\n  $ {commands[0]}\nIt runs these commands:", flush=True)
        study.show(file)
        print(flush=True)
        study.run(file)
        print(f"\nEvaluate and report\n  $ {commands[1]}", flush=True)
        done = study.finish(file)

    scores = {
        trainer.name: report.Score(done[trainer.full_name].dice, report.seconds_per_step(done[trainer.full_name].model))
        for trainer in trainers
    }
    labels = sorted((dataset / "labelsTs").glob("*.nii.gz"))
    for label in labels:
        case = label.name.removesuffix(".nii.gz")
        predictions = {trainer.name: done[trainer.full_name].predictions for trainer in trainers}
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
        "commands": [*_exports(workdir, cores), *shell.commands, *commands],
    }
    report.write_results(workdir.new(RESULTS), scores, context)
    return scores


def _begin(workdir: Workdir, cores: int) -> Shell:
    """What runs the commands; the lines that set their variables in a user's shell are shown."""
    print("All commands below run with these variables:", *(f"  {line}" for line in _exports(workdir, cores)), sep="\n")
    return Shell(workdir.new(LOG), {**environment(workdir.path, cores), "PATH": program_path()})


def _exports(workdir: Workdir, cores: int) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in environment(workdir.path, cores).items()]


def _prepare(workdir: Workdir, shell: Shell, seed: int) -> None:
    """From the phantom to what can be trained on."""
    folder, raw, _ = (workdir.new(name) for name in _DATA)
    if workdir.prepared:
        print(f"\nThe data are prepared already, by an earlier call: {raw}", flush=True)
        return
    print(f"\nMake a phantom download of {len(PATIENTS)} patients in BraTS 2017's layout", flush=True)
    download = write_download(folder, seed)
    print(f"  {download}")
    raw.mkdir()
    convert = ["nnunet_fess", "convert", "brats2017", str(download), "-d", DATASET]
    shell.run("Convert it to nnU-Net's format", [*convert, "--test-fraction", "0.25", "--seed", str(seed), "-np", "1"])
    shell.run("Take its fingerprint from fewer voxels", [sys.executable, "-m", "nnunet_fess.demo.fingerprint", DATASET])
    # No --verify_dataset_integrity, which a dataset from another source would deserve: the converter has read every voxel.
    plan = ["nnUNetv2_plan_and_preprocess", "-d", DATASET, "-c", CONFIGURATION]
    shell.run("Plan and preprocess", [*plan, "-npfp", "1", "-np", "1"])
    cut = ["nnunet_fess", "plans", DATASET, "--cpu", "--patch-size", PATCH]
    shell.run("Cut the plans down to the size of the demo", cut)
    workdir.mark_prepared(made_of(seed))
