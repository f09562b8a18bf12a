"""What comes next in a run, told from what lies on the disk: train, go on training, validate, predict, or nothing."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nnunet_fess import files
from nnunet_fess.study.data import Data, Test
from nnunet_fess.study.members import probabilities_wanted
from nnunet_fess.study.results import Run, folder_of

FINAL, LATEST, BEST = "checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth"
TRAIN, CONTINUED, VALIDATE, PREDICT = "train", "train, continued", "validate", "predict"  # titles
PREDICTIONS = "predictions"
SUMMARY = "summary.json"  # nnU-Net writes it when all of the validation is there


@dataclass(frozen=True)
class Next:
    """A command to run.

    Attributes:
        title: what it does, in a word.
        command: the program and its arguments.
        renamed: a folder that it fills, and the name that the folder gets when it is whole.
    """

    title: str
    command: Sequence[str]
    renamed: tuple[Path, Path] | None = None

    @property
    def by_hand(self) -> Sequence[str]:
        """The command for someone who types it: with the folder's later name, since nobody would rename it."""
        if self.renamed is None:
            return self.command
        unfinished, whole = map(str, self.renamed)
        return [whole if word == unfinished else word for word in self.command]


def following(data: Data, run: Run, results: Path) -> Next | None:
    """The next command of a run; None if it is finished.

    A file that a kill has left half written does not count: nnU-Net writes its checkpoints under their final names.
    """
    train = ["nnUNetv2_train", data.number, run.configuration, str(run.nnunet_fold), "-p", run.plans, "-tr", run.trainer_name]
    train += ["-device", data.file.study.device]
    gpus = data.file.study.gpus_of_a_training
    train += ["-num_gpus", str(gpus)] if gpus > 1 else []
    wanted = probabilities_wanted(data.file, run.trainer)
    train += ["--npz"] if wanted.validation else []
    if not is_whole(run.model / FINAL):
        if any(is_whole(run.model / name) for name in (LATEST, BEST)):
            return Next(CONTINUED, [*train, "--c"])
        return Next(TRAIN, train)
    if not _validated(data, run, wanted.validation):
        return Next(VALIDATE, [*train, "--val"])
    if data.test is None or _predicted(run.predictions, data.test.cases, data.ending, wanted.test):
        return None
    return predict(data, run, data.test, results)


def predict(data: Data, run: Run, test: Test, results: Path) -> Next:
    """The command that predicts the test cases."""
    unfinished = folder_of(results, run.id) / f"{PREDICTIONS}{files.PARTIAL}"
    command = ["nnUNetv2_predict", "-i", str(test.images), "-o", str(unfinished), "-d", data.number, "-c", run.configuration]
    command += ["-p", run.plans, "-tr", run.trainer_name, "-f", str(run.nnunet_fold), "-device", data.file.study.device]
    command += ["--save_probabilities"] if probabilities_wanted(data.file, run.trainer).test else []
    # a GPU waits for nobody; a CPU is busy with the network, and a further process takes longer to start than it saves
    workers = "0" if data.file.study.device == "cpu" else "1"
    return Next(PREDICT, [*command, "-npp", workers, "-nps", workers], (unfinished, run.predictions))


def prepare(step: Next, run: Run) -> None:
    """Clear away what nnU-Net would stumble over, and what the command will make anew and nobody must take for its result."""
    if step.title != PREDICT:
        (run.model / "validation" / SUMMARY).unlink(missing_ok=True)
        if run.predictions.name == PREDICTIONS and run.predictions.is_dir():
            shutil.rmtree(run.predictions)
    for name in (FINAL, LATEST, BEST):
        checkpoint = run.model / name
        if checkpoint.is_file() and not is_whole(checkpoint):
            checkpoint.replace(checkpoint.with_name(f"{name}.damaged"))
    if step.renamed:
        for path in step.renamed:
            if path.is_dir():
                shutil.rmtree(path)


def complete(step: Next) -> None:
    """Give the folder that a command has filled its name."""
    if step.renamed and step.renamed[0].is_dir():
        step.renamed[0].replace(step.renamed[1])


def has_checkpoint_since(run: Run, moment: datetime) -> bool:
    """Whether a training has written a whole checkpoint after that moment."""
    found = (run.model / name for name in (FINAL, LATEST, BEST))
    return any(is_whole(path) and path.stat().st_mtime >= moment.timestamp() for path in found)


def is_whole(checkpoint: Path) -> bool:
    """Whether a checkpoint is there to its last byte: torch writes zip archives, whose directory is at the end."""
    return checkpoint.is_file() and zipfile.is_zipfile(checkpoint)


def _validated(data: Data, run: Run, probabilities: bool) -> bool:
    validation = run.model / "validation"
    try:
        json.loads((validation / SUMMARY).read_bytes())
    except (OSError, ValueError):
        return False
    return _predicted(validation, data.splits.splits[run.nnunet_fold]["val"], data.ending, probabilities)


def _predicted(folder: Path, cases: Sequence[str], ending: str, probabilities: bool = False) -> bool:
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    endings = [ending, ".npz", ".pkl"] if probabilities else [ending]
    return all(f"{case}{suffix}" in there for case in cases for suffix in endings)
