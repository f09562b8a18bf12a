"""What can be known of a cluster before anything is submitted: would SLURM take the jobs, do its nodes see the files?"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_fess.errors import UserError
from nnunet_fess.folders import folder
from nnunet_fess.processes import stopping
from nnunet_fess.study import queue, scripts
from nnunet_fess.study.config import Slurm, StudyFile

_FREE_WITHIN, _ANSWERS_WITHIN = 10, 60  # seconds for a free node, and for its answer
# Not told by Linux to be on another machine. A disk here may be shared with the nodes all the same, hence only a warning.
_OF_ONE_MACHINE = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "ramfs"}
# $1: a file that we have just made; the others: what a job needs. Answers with what the node does not see or cannot write.
_LOOK = """
token=$1; shift
if [ -f "$token" ]; then : > "$token.seen" || echo "cannot be written to: $token"; else echo "not there: $token"; fi
for path in "$@"; do [ -e "$path" ] || echo "not there: $path"; done
echo "looked on $(hostname)"
"""


@dataclass
class Seen:
    """What was found in order, and what may surprise."""

    fine: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def look(file: StudyFile) -> Seen:
    """Find what would keep the jobs from running; takes about a minute at most, and submits nothing that stays.

    Raises:
        UserError: SLURM's commands are missing or do not answer, it would refuse the jobs, or a node does not see a file.
    """
    executor = file.study.executor
    assert isinstance(executor, Slurm)
    if lacking := queue.missing():
        raise UserError(
            f"{file.at('executor.kind')}: slurm, but {', '.join(lacking)} was not found. Call this on a login node of the "
            "cluster (often after  module load slurm), or take  executor: {kind: local}"
        )
    for path in (file.path, file.results):
        if not str(path).isprintable():
            raise UserError(f"{file.at('results')}: {str(path)!r} holds characters that no batch script can name.")
    script = scripts.training(file, "check")
    _shell_reads(file, script)
    try:
        queue.would_take(script)
    except UserError as error:
        raise UserError(f"{file.at('executor')}: SLURM would not take a training's job. {error}") from error
    gpus = file.study.gpus_of_a_training
    seen = Seen([f"slurm: takes jobs of {executor.cpus} cores" + (f" and {gpus} GPUs" if gpus else "")])
    if executor.time is None:
        seen.warnings.append("executor has no time: the partition's limit may end trainings; SLURM then gives no early signal")
    foreign = [trainer.given for trainer in file.trainers if not trainer.ours]
    if foreign:
        seen.warnings.append(
            f"{', '.join(foreign)}: not ours, so a time limit makes them go on from nnU-Net's last checkpoint (its best one, "
            "or of every 50th epoch), not from where they were"
        )
    _ask_a_node(file, executor, seen)
    return seen


def _shell_reads(file: StudyFile, script: str) -> None:
    """Whether the script is one with the user's commands in it; nothing of it is run."""
    bash = shutil.which("bash")
    if bash is None:
        return
    done = subprocess.run([bash, "-n"], input=script, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode != 0:
        raise UserError(f"{file.at('executor.setup')}: no shell commands: {done.stderr.strip().splitlines()[-1]}")


def _ask_a_node(file: StudyFile, executor: Slurm, seen: Seen) -> None:
    with _token(file) as token:
        needed = [file.path, Path(sys.executable), folder("nnUNet_preprocessed"), *_other_folders()]
        name = f"nnunet_fess.{token.name[-8:]}"
        command = ["srun", f"--immediate={_FREE_WITHIN}", "--quiet", "--nodes=1", "--ntasks=1", "--time=1", "--chdir=/"]
        command += [f"--job-name={name}", *scripts.place_options(executor)]
        try:
            told = queue.ask([*command, "bash", "-c", _LOOK, "look", str(token), *map(str, needed)], _ANSWERS_WITHIN)
        except UserError as error:
            with contextlib.suppress(UserError):
                queue.ask(["scancel", f"--name={name}"], 10)
            local = _on_this_machine([token.parent, *needed])
            seen.warnings.append(
                f"no node could be asked within {_ANSWERS_WITHIN} s whether it sees the files ({error}); a job that does not "
                "ends at once." + (f" On disks of this machine: {', '.join(local)}" if local else "")
            )
            return
        lines = told.splitlines()
        node = next((line.removeprefix("looked on ") for line in lines if line.startswith("looked on ")), "a node")
        wrong = [
            line.replace(str(token), str(token.parent)) for line in lines if line.startswith(("not there: ", "cannot be "))
        ]
        if not wrong and not token.with_name(f"{token.name}.seen").exists():
            wrong = [f"what the node writes there is not seen here: {token.parent}"]
        if wrong:
            raise UserError(
                f"{file.at('executor')}: the node {node} does not see what a training needs: {'; '.join(wrong)}. Keep the "
                "study, its results, the data and Python's environment on a disk that all nodes have."
            )
        seen.fine.append(f"slurm: {node} sees the study, its results, the data and Python")


@contextlib.contextmanager
def _token(file: StudyFile) -> Iterator[Path]:
    """A new file where the results are, or where they will be."""
    place = next(path for path in (file.results, *file.results.parents) if path.is_dir())
    token = place / f".nnunet_fess_look_{secrets.token_hex(4)}"
    try:
        token.touch()
        yield token
    finally:
        token.unlink(missing_ok=True)
        token.with_name(f"{token.name}.seen").unlink(missing_ok=True)


def _other_folders() -> list[Path]:
    """Of nnU-Net's raw data and of trainers, where there are any."""
    found = []
    for name, value in os.environ.items():
        if name.startswith("nnUNet_") and name not in ("nnUNet_results", "nnUNet_preprocessed", stopping.VARIABLE):
            found += [Path(part) for part in value.split(os.pathsep) if part.startswith("/") and Path(part).exists()]
    return found


def _on_this_machine(paths: list[Path]) -> list[str]:
    try:
        mounts = [line.split(" ")[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return []
    found = []
    for path in dict.fromkeys(map(Path.absolute, paths)):
        places = [(place, kind) for place, kind in mounts if path.is_relative_to(place.replace("\\040", " "))]
        kind = max(places, key=lambda entry: len(entry[0]), default=("", ""))[1]
        if kind in _OF_ONE_MACHINE:
            found.append(f"{path} ({kind})")
    return found
