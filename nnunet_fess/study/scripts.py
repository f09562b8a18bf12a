"""The batch scripts of a study: one per training, in its folder, for people to read, to change and to submit by hand."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.processes import stopping
from nnunet_fess.processes.stopping import STOPPED
from nnunet_fess.study.config import Slurm, StudyFile, seconds_of

FOLDER = "slurm"  # of scripts and of what jobs print
PREPARE, EVALUATE = "prepare", "evaluate"  # jobs besides the trainings
_LEAD, _SHORTEST_LEAD = 600, 90  # seconds before the time limit; SLURM may send the signal a minute early
_FORCE = 45  # seconds for ending a training that does not stop by itself, and for going back to the queue
_WRITTEN = "# Written by nnunet_fess, content "


def script_of(results: Path, name: str) -> Path:
    """The script of a run, or of another job of the study."""
    return results / FOLDER / f"{name}.sh"


def output_of(results: Path, name: str) -> Path:
    """What the job prints; what the training prints is in the run's own log."""
    return results / FOLDER / f"{name}.out"


def mark_of_study(results: Path) -> str:
    """What the comments of all of a study's jobs begin with."""
    return f"nnunet_fess.{_digest(str(results))}."


def mark_of(results: Path, name: str) -> str:
    """The comment of a job: found again in the queue, whoever has submitted it."""
    return mark_of_study(results) + _digest(name)


def training(file: StudyFile, run_id: str) -> str:
    """The script of a run."""
    executor = _slurm(file)
    lead = lead_of(executor)
    command = _command(file, "run", "--run", run_id, "--stop-within", str(max(lead - _FORCE, lead // 2)))
    body = f"""\
# SLURM signals this shell alone. USR1 comes {lead} s before the time limit: the training writes a checkpoint and the job goes
# back to the queue, where it goes on. TERM comes with scancel and preemption.
{command} &
worker=$!
trap 'kill -USR1 "$worker"' USR1
trap 'kill -TERM "$worker"' TERM
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; done
wait "$worker"
code=$?
if [ "$code" -eq {STOPPED} ] || [ "$code" -eq 138 ]; then  # 138: the signal came before the program was there
    for attempt in 1 2 3; do
        scontrol requeue "$SLURM_JOB_ID" && exit 0
        sleep 5
    done
    echo "scontrol requeue failed; what is missing is submitted by:  nnunet_fess study run" >&2
fi
exit "$code"
"""
    options = [*_resources(executor, gpus=file.study.gpus_of_a_training), f"--signal=B:USR1@{lead}"]
    return _script(file, run_id, f"A training of the study {file.study.name}: {run_id}", options, body)


def preparation(file: StudyFile) -> str:
    """The script that plans and preprocesses."""
    body = f"exec {_command(file, 'run', '--prepare')}\n"
    options = _resources(_slurm(file), gpus=0)
    return _script(file, PREPARE, f"Planning and preprocessing for the study {file.study.name}", options, body)


def evaluation(file: StudyFile) -> str:
    """The script that evaluates and reports what is finished when no training is left in the queue."""
    body = f"exec {_command(file, 'report')}\n"
    options = _resources(_slurm(file), gpus=0)
    return _script(file, EVALUATE, f"Evaluation and report of the study {file.study.name}", options, body)


def lead_of(executor: Slurm) -> int:
    """Seconds before the time limit at which a training is told to stop: ten minutes, of a short limit a quarter."""
    if executor.stop_before is not None:
        return executor.stop_before
    limit = seconds_of(executor.time) if executor.time is not None else None
    return _LEAD if limit is None else max(min(_LEAD, limit // 4), min(_SHORTEST_LEAD, limit // 2))


def write(results: Path, name: str, text: str) -> bool:
    """Write a script, unless somebody has changed the one that is there; whether it was written."""
    path = script_of(results, name)
    if is_changed(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)
    path.chmod(0o755)
    return True


def is_changed(path: Path) -> bool:
    """Whether a script is there that is not as we wrote it."""
    try:
        text = path.read_text("utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    found = re.search(rf"^{re.escape(_WRITTEN)}(\w+)", text, re.MULTILINE)
    return found is None or found[1] != _digest(_without_seal(text))


def _script(file: StudyFile, name: str, title: str, options: Sequence[str], body: str) -> str:
    executor = _slurm(file)
    results = file.results
    script = script_of(results, name)
    own = [
        f"--job-name={re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}",
        f"--comment={mark_of(results, name)}",
        f"--output={_quoted(str(output_of(results, name)).replace('%', '%%'))}",
        "--open-mode=append",
        "--requeue",
        "--nodes=1",
        "--ntasks=1",
    ]
    lines = [
        "#!/bin/bash",
        f"# {title}",
        f"# To submit it by hand:  sbatch {shlex.quote(str(script))}",
        "# A script that somebody has changed is submitted as it is; without it, the next  study run  writes a new one.",
        *(f"#SBATCH {option}" for option in [*own, *options, *map(_extra, executor.extra)]),
        "",
        *executor.setup,
        *([""] if executor.setup else []),
        *(f"export {name}={shlex.quote(value)}" for name, value in sorted(_variables().items())),
        "",
        body,
    ]
    text = "\n".join(lines)
    seal = f"{_WRITTEN}{_digest(_without_seal(text))}\n"
    return text + seal


def _without_seal(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith(_WRITTEN))


def _resources(executor: Slurm, gpus: int) -> list[str]:
    memory = executor.memory
    wishes: list[tuple[str, object]] = [
        ("cpus-per-task", executor.cpus),
        ("gres", f"gpu:{gpus}" if gpus else None),
        ("mem", f"{memory}M" if isinstance(memory, int) else memory),
        ("time", executor.time),
        # SLURM's own defaults of a user; in the script, where they can be seen, and where the file's word is above theirs
        ("partition", executor.partition or os.environ.get("SBATCH_PARTITION")),
        ("account", executor.account or os.environ.get("SBATCH_ACCOUNT")),
        ("qos", os.environ.get("SBATCH_QOS")),
        ("reservation", os.environ.get("SBATCH_RESERVATION")),
    ]
    return [f"--{name}={_quoted(str(value))}" for name, value in wishes if value]


def place_options(executor: Slurm) -> list[str]:
    """Where jobs run and who pays, as arguments of srun."""
    wanted = ("--partition", "--account", "--qos", "--reservation")
    own = [option for option in _resources(executor, gpus=0) if option.startswith(wanted)]
    return [*own, *(option for option in executor.extra if not re.match(r"--dep|-d", option))]


def _extra(option: str) -> str:
    """An option of the user's, its value quoted: sbatch splits #SBATCH lines into words, but expands nothing in them."""
    if option.startswith("--"):
        name, equals, value = option.partition("=")
        return f"{name}={_quoted(value)}" if equals else name
    value = option[2:].strip()
    return f"{option[:2]} {_quoted(value)}" if value else option


def _quoted(value: str) -> str:
    if re.fullmatch(r"[\w@+=:,./|&!*\[\]()-]+", value, re.ASCII):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def _command(file: StudyFile, *arguments: str) -> str:
    verb, *options = arguments
    return shlex.join([sys.executable, "-m", "nnunet_fess", "study", verb, str(file.path), *options])


def _variables() -> dict[str, str]:
    """What a job needs to know of our environment, also when somebody else or another shell submits it."""
    names = [name for name in os.environ if name.startswith("nnUNet_") and name not in ("nnUNet_results", stopping.VARIABLE)]
    return {name: os.environ[name] for name in [*names, "PYTHONPATH"] if os.environ.get(name)}


def _slurm(file: StudyFile) -> Slurm:
    assert isinstance(file.study.executor, Slurm)
    return file.study.executor


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", errors="surrogateescape")).hexdigest()[:12]
