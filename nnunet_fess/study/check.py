"""All that could fail, found before anything is trained."""

from __future__ import annotations

import difflib
import math
import os
import platform
import re
import shutil
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dataset_conversion.splits import SPLITS
from nnunet_fess import machine
from nnunet_fess.errors import UserError, did_you_mean
from nnunet_fess.folders import expanded, resolved
from nnunet_fess.plans import network_without_weights
from nnunet_fess.processes import programs
from nnunet_fess.study import nodes, progress
from nnunet_fess.study.config import Local, Slurm, StudyFile, TestFolders
from nnunet_fess.study.data import Data
from nnunet_fess.study.jobs import jobs
from nnunet_fess.study.local import slots
from nnunet_fess.study.lock import LOCK, LOCKS
from nnunet_fess.study.members import control_of, ensembles, weights_of
from nnunet_fess.study.results import read_run
from nnunet_fess.study.trainers import others
from nnunet_fess.trainers.naming import NotOurs, parse
from nnunet_fess.trainers.registry import registry

COMMANDS = ("nnUNetv2_train", "nnUNetv2_predict", "nnUNetv2_plan_and_preprocess", "nnUNetv2_preprocess", "nnunet_fess")
_MOMENTUM, _CHECKPOINTS, _BYTES = 2, 2, 4  # weights and their momentum, best and final, float32
_LONG = 24 * 3600  # seconds; a study that takes longer is warned of


@dataclass
class Found:
    """What a check has found.

    Attributes:
        fine: what is in order, a line each.
        warnings: what may surprise.
        mistakes: what would fail.
        data: the datasets with each of the plans, those that were found.
    """

    fine: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    data: list[Data] = field(default_factory=list)


def check(file: StudyFile, here: bool = False, device: bool = True) -> Found:
    """Look at everything that a run will need; changes nothing.

    Args:
        file: the study.
        here: look at this machine even where the runs are jobs of a cluster.
        device: look at the GPU or the cores, too.
    """
    found = Found([f"the file itself is right: {len(jobs(file))} runs"])
    _trying(found, lambda: _trainers(file, found))
    _trying(found, lambda: programs.search_path(COMMANDS))
    for dataset in file.study.datasets:
        for plans in file.study.all_plans:
            _trying(found, lambda dataset=dataset, plans=plans: _dataset(file, dataset, plans, found))  # type: ignore[misc]
    cluster = isinstance(file.study.executor, Slurm) and not here
    if device and not cluster:
        _trying(found, lambda: _device(file, found))
    _trying(found, lambda: _results(file, found))
    _trying(found, lambda: _disk(file, found))
    if not here:
        _trying(found, lambda: _time(file, found))
    for lines in (found.fine, found.warnings, found.mistakes):  # what concerns a dataset is found with each of its plans
        lines[:] = dict.fromkeys(lines)
    if cluster and not found.mistakes:
        _trying(found, lambda: _cluster(file, found))
    return found


def report(file: StudyFile) -> int:
    """Check and print; the exit code says whether it could run."""
    found = check(file)
    for line in found.fine:
        print(f"  ok       {line}")
    for line in found.warnings:
        print(f"  warning  {line}")
    if found.mistakes:
        raise UserError(told(found))
    print(f"{file.path.name} can run here")
    return 0


def told(found: Found) -> str:
    """All mistakes as one message."""
    number = len(found.mistakes)
    return f"{number} mistake{'s' if number > 1 else ''}\n" + "\n".join(f"  {line}" for line in found.mistakes)


def _trying(found: Found, look: Callable[[], Any]) -> None:
    """The next check does not depend on this one's success."""
    try:
        look()
    except UserError as error:
        found.mistakes.append(str(error))
    except OSError as error:
        found.mistakes.append(f"{error.filename or 'a file'}: {error.strerror or error}")


def _trainers(file: StudyFile, found: Found) -> None:
    foreign = [(position, trainer) for position, trainer in enumerate(file.trainers) if not trainer.ours]
    known = others() if foreign else set()
    for position, trainer in foreign:
        if trainer.given not in known:
            near = difflib.get_close_matches(trainer.given, [*known, *registry().catalogue.losses], n=2, cutoff=0.75)
            told = f"no trainer {trainer.given} in nnU-Net, nor here.{did_you_mean(near)}"
            found.mistakes.append(f"{file.at(f'trainers.{position}')}: {told}")
    for trainer in file.trainers:
        if trainer.ours:
            found.warnings += parse(trainer.name(0)).loss.remarks
    ours = len(file.trainers) - len(foreign)
    names = ", ".join(trainer.given for _, trainer in foreign)
    if foreign and len(file.study.seeds) > 1:
        found.warnings.append(f"{names}: no seeds, so one run where ours have {len(file.study.seeds)}")
    if foreign and file.study.options:
        found.warnings.append(f"{names}: without the options {file.study.options}")
    found.fine.append(f"{len(file.trainers)} trainers, {ours} of them ours")
    if averaged := ensembles(file):
        found.fine.append(
            f"{len(averaged)} ensembles, their control: {control_of(file) or 'none, as there is none of the baseline'}"
        )
        found.warnings.append("ensembles: probabilities of every case are kept, which the disk's estimate leaves out")
        if "learned" not in weights_of(file) and file.study.ensembles and file.study.ensembles.weights is None:
            found.warnings.append(
                "ensembles: the mean only; learned weights are fitted on the validation cases, which here are the test cases"
            )


def _dataset(file: StudyFile, dataset: int | str, plans: str, found: Found) -> None:
    data = Data(file, dataset, plans)
    if (data.name, plans) in ((other.name, other.plans_name) for other in found.data):
        raise UserError(f"{file.at('dataset')}: {dataset} is {data.name}, which is there already; allowed: each once")
    if wrong := data.wrong_splits():
        found.mistakes += wrong
        return
    todo = data.to_do()
    if data.plans_file.is_file():
        configuration = data.configuration
        if configuration.get("previous_stage"):
            raise UserError(
                f"{file.at('configuration')}: {file.study.configuration} is the second stage of a cascade and needs the first "
                "one's predictions of all folds. Compare losses in the first stage, or in a configuration by itself."
            )
        batch, gpus = configuration.get("batch_size"), file.study.gpus_of_a_training
        if isinstance(batch, int) and batch < gpus:
            raise UserError(
                f"{file.at('executor.gpus')}: {data.name}: a batch of {batch} for {gpus} GPUs; allowed: at most as many as "
                "patches in a batch"
            )
    numbers = data.fold_numbers()
    test = data.test
    sizes = sorted({len(data.splits.splits[number]["train"]) for number in numbers.values()}, reverse=True)
    cases = f"{len(test.cases)} test cases" if test else "the folds' validation cases as test"
    trained = {case for number in numbers.values() for case in data.splits.splits[number]["train"]}
    if test and (both := sorted(trained & set(test.cases))):
        found.warnings.append(
            f"{data.name}: {len(both)} of {len(test.cases)} test cases have names of training cases, such as {both[0]}; a test "
            "on what was trained on proves nothing"
        )
    found.fine.append(f"{data.name}: training sets of {', '.join(map(str, sizes))} cases, {cases}")
    found.fine += [f"{data.name}: to be done first: {' '.join(command)}" for _, command in todo]
    if wrong := data.wrong_patients():
        found.mistakes += wrong
        return
    if data.splits.appended:
        found.fine.append(f"{data.name}: training sets will be appended to {SPLITS}")
    drawn = any(subset.size != "all" for subset in numbers)
    if drawn and data.place.report is None and data.who is None:
        found.warnings.append(f"{data.name}: each case counts as a patient of its own; where that is wrong, say  patients:")
    for subset, number in numbers.items():
        there = len(data.splits.splits[number]["train"])
        if subset.size != "all" and there != subset.size:
            found.warnings.append(f"{data.name}: {subset.size} training cases are {there}; patients are not cut in two")
    found.data.append(data)


def _cluster(file: StudyFile, found: Found) -> None:
    told = nodes.look(file)
    found.fine += told.fine
    found.warnings += told.warnings


def _device(file: StudyFile, found: Found) -> None:
    study = file.study
    if isinstance(study.executor, Slurm):
        _device_of_a_job(file, found)
        return
    if study.device != "cuda":
        if study.device == "mps":
            _mps(file)
        share = machine.cores() // study.executor.parallel
        if study.device == "cpu" and share < 1:
            raise UserError(
                f"{file.at('executor.parallel')}: found {study.executor.parallel}, this machine has {machine.cores()} cores; "
                "allowed: no more runs at once than cores"
            )
        found.fine.append(f"{study.device}: {study.executor.parallel} at once, {max(1, share)} of {machine.cores()} cores each")
        return
    import torch

    if not torch.cuda.is_available():
        raise UserError(f"{file.at('device')}: found cuda, but torch finds no GPU here; allowed: cpu")
    there = torch.cuda.device_count()
    lacking = [number for number in study.executor.gpus or [0] if number >= there]
    if lacking:
        raise UserError(f"{file.at('executor.gpus')}: found {lacking[0]}; this machine has GPUs 0…{there - 1}")
    if study.executor.gpus is None and study.executor.parallel > 1:
        found.warnings.append(
            f"{study.executor.parallel} runs at once on one GPU: name the GPUs in  executor: {{gpus: [0, 1]}}"
        )
    found.fine.append(f"cuda: {there} GPUs here")


def _mps(file: StudyFile) -> None:
    import torch

    if not torch.backends.mps.is_available():
        raise UserError(f"{file.at('device')}: found mps, but torch finds none here; allowed: cpu")


def _device_of_a_job(file: StudyFile, found: Found) -> None:
    needed = file.study.gpus_of_a_training
    if needed:
        import torch

        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if there < needed:
            raise UserError(
                f"{file.at('executor.gpus')}: {needed} for a training, but torch finds {there} on {platform.node()}. Does the "
                "job ask for them, and do torch and the driver fit together (nnunet_fess doctor)?"
            )
        found.fine.append(f"cuda: {there} GPUs here")


def _results(file: StudyFile, found: Found) -> None:
    results, where = file.results, file.at("results")
    nearest = _nearest(results)
    if not nearest.is_dir():
        raise UserError(f"{where}: {nearest} is a file; the results need a folder.")
    ours = (results / LOCK).is_file() or (results / LOCKS).is_dir()  # the latter comes first
    if results.is_dir() and not ours and any(results.iterdir()):
        raise UserError(f"{where}: {results} holds files, but none of a study's. Choose another folder, or empty it.")
    inside = resolved(results)
    for what, given in _read_only(file):
        if inside.is_relative_to(resolved(given)):
            raise UserError(f"{where}: {results} lies in {given} ({what}), which holds data. Choose another folder.")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{where}: {nearest} cannot be written to.")


def _read_only(file: StudyFile) -> Iterator[tuple[str, Path]]:
    for variable in ("nnUNet_raw", "nnUNet_preprocessed"):
        if given := os.environ.get(variable):
            yield variable, expanded(given)
    if isinstance(file.study.test, TestFolders):
        for path in (file.study.test.images, file.study.test.labels):
            yield "test", file.path.parent / expanded(path)


def _nearest(folder: Path) -> Path:
    """The folder, or of those above it the first that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _disk(file: StudyFile, found: Found) -> None:
    """Checkpoints and predictions of what is still to run, from the plans and the labels' sizes."""
    planned = [data for data in found.data if data.plans_file.is_file()]
    if not planned:
        return
    needed = 0
    for data in planned:
        weights = _weights(data.configuration, len(data.dataset_json["channel_names"]), len(data.dataset_json["labels"]))
        model = weights * _MOMENTUM * _CHECKPOINTS * _BYTES
        labels = sum(path.stat().st_size for path in data.truth.glob("*")) if data.truth.is_dir() else 0
        here = data.jobs
        recorded = (read_run(file.results, job.id) for job in here)
        done = sum(run is not None and run.status == "finished" for run in recorded)
        needed += (len(here) - done) * (model + labels)
    nearest = _nearest(file.results)
    free = shutil.disk_usage(nearest).free
    told_needed = f"about {needed / 1e9:.1f} GB of checkpoints and predictions, {free / 1e9:.1f} GB free in {nearest}"
    if needed > free:
        raise UserError(f"{file.at('results')}: {told_needed}. Make room, or choose another folder with  results:")
    found.fine.append(told_needed)


def _time(file: StudyFile, found: Found) -> None:
    """How long what is left will take, from the runs that are finished; without any, how much there is of it."""
    recorded = {job.id: read_run(file.results, job.id) for job in jobs(file)}
    left = [job for job in jobs(file) if (run := recorded[job.id]) is None or run.status != "finished"]
    if not left:
        return
    seconds: dict[str, list[float]] = {}
    for run in recorded.values():
        if run is not None and run.status == "finished" and run.seconds > 0:
            seconds.setdefault(run.trainer_name, []).append(run.seconds / max(1, _iterations(run.trainer_name)))
    known = [statistics.fmean(each) for each in seconds.values()]
    steps = sum(_iterations(job.trainer_name) for job in left)
    told = f"{len(left)} runs to do, {steps:,} training iterations in all"
    executor = file.study.executor
    parallel = len(slots(executor)) if isinstance(executor, Local) else 1
    together = "" if isinstance(executor, Local) else " of all jobs together, however many run at once"
    if not known:
        per_step = 1.0 if file.study.device == "cpu" else 0.1
        total = steps * per_step / parallel
        guess = f"{told}; how long is known when the first is finished: at {per_step:g} s each, {progress.duration(total)}"
        guess += together
        (found.warnings if total > _LONG and not together else found.fine).append(guess)
        return
    total = steps * statistics.fmean(known) / parallel
    measured = f"{told}: about {progress.duration(total)}{together}, judged by those that are finished"
    (found.warnings if total > _LONG and not together else found.fine).append(measured)


def _iterations(trainer_name: str) -> int:
    """Of one training; for others than ours what nnU-Net's names say, or its 1000 epochs of 250."""
    try:
        settings = parse(trainer_name)
        return int(settings["epochs"] or 1000) * int(settings["iters"] or 250)
    except NotOurs:
        epochs = re.search(r"_(\d+)epochs?(_|$)", trainer_name)
        return (int(epochs[1]) if epochs else 1000) * 250


def _weights(configuration: dict[str, Any], channels: int, classes: int) -> int:
    """How many numbers a network learns."""
    network = configuration.get("architecture", {}).get("arch_kwargs", {})
    features, kernels = network.get("features_per_stage"), network.get("kernel_sizes")
    if not isinstance(features, list) or not isinstance(kernels, list):  # none of nnU-Net's: built, which takes seconds
        built = network_without_weights(configuration, channels, classes)
        return sum(parameter.numel() for parameter in built.parameters())
    blocks = network.get("n_conv_per_stage") or network.get("n_blocks_per_stage") or [2] * len(features)
    double = 2 if "n_blocks_per_stage" in network else 1  # convolutions of a residual block
    before, weights = channels, 0
    for number, kernel, count in zip(features, kernels, blocks, strict=False):
        weights += math.prod(kernel) * number * (before + number * (count * double - 1))
        before = number
    for deep, shallow, kernel in zip(features[:0:-1], features[-2::-1], kernels[-2::-1], strict=False):
        weights += 8 * deep * shallow + math.prod(kernel) * shallow * 2 * shallow + shallow * classes
    return weights
