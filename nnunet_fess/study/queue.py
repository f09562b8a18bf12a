"""SLURM as its own commands tell it: what is in the queue, how jobs ended, and how one is submitted or cancelled."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_fess.errors import UserError

PATIENCE = 60.0  # seconds for an answer; SLURM's own commands try again for minutes when the controller is away
COMMANDS = ("sbatch", "squeue", "scancel", "srun")
ENDED = frozenset(
    {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "BOOT_FAIL",
        "DEADLINE",
        "PREEMPTED",
        "REVOKED",
    }
)
# A job with one of these never starts by itself.
NEVER = frozenset({"DependencyNeverSatisfied"})
_HELD = re.compile(r"[Hh]eld|BadConstraints")


@dataclass(frozen=True)
class Entry:
    """A job as squeue or sacct tells it.

    Attributes:
        job: its number.
        state: such as ``PENDING``.
        reason: why it waits, or why it failed; ``None`` where there is no reason.
        nodes: where it runs or ran.
        elapsed: as SLURM writes it.
        limit: its time limit.
        starts: when it is expected to start, ``N/A`` if not known.
        comment: what we have marked it with.
    """

    job: str
    state: str
    reason: str = "None"
    nodes: str = ""
    elapsed: str = ""
    limit: str = ""
    starts: str = "N/A"
    comment: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will do no more."""
        return self.state in ENDED or self.reason in NEVER

    @property
    def waits(self) -> bool:
        """Whether it is still to start."""
        return not self.ended and self.state in (
            "PENDING",
            "REQUEUED",
            "REQUEUE_HOLD",
            "REQUEUE_FED",
            "SPECIAL_EXIT",
            "RESV_DEL_HOLD",
        )


_FIELDS = ("%i", "%T", "%r", "%N", "%M", "%l", "%S", "%k")


def entries(mark: str, patience: float | None = None) -> list[Entry]:
    """Our own jobs whose comment begins with the mark; also those that ended in the last minutes.

    Raises:
        UserError: SLURM does not answer, or not as expected.
    """
    told = ask(["squeue", "--noheader", "--states=all", f"--user={_user()}", "--format=" + "|".join(_FIELDS)], patience)
    found = []
    for line in told.splitlines():
        parts = line.strip().split("|", len(_FIELDS) - 1)
        if len(parts) == len(_FIELDS) and parts[-1].startswith(mark):
            found.append(Entry(*parts))
    return found


def history(jobs: Sequence[str], patience: float | None = None) -> dict[str, Entry]:
    """How jobs ended, from the accounting; nothing where a cluster has none."""
    if not jobs or shutil.which("sacct") is None:
        return {}
    fields = "JobIDRaw,State,NodeList,Elapsed"
    try:
        told = ask(
            ["sacct", "--noheader", "--allocations", "--parsable2", f"--format={fields}", f"--jobs={','.join(jobs)}"], patience
        )
    except UserError:  # accounting is disabled, or its database is away
        return {}
    found = {}
    for line in told.splitlines():
        parts = line.split("|")
        if len(parts) == 4:
            job, state, nodes, elapsed = parts
            found[job] = Entry(job, state.split(" ")[0], nodes=nodes, elapsed=elapsed)  # "CANCELLED by 1000"
    return found


def submit(script: Path, after: str = "") -> str:
    """Submit a script; the job's number.

    Args:
        script: the file.
        after: what it waits for, as sbatch's ``--dependency`` takes it.

    Raises:
        UserError: SLURM refuses it, or does not answer.
    """
    depends = [f"--dependency={after}", "--kill-on-invalid-dep=yes"] if after else []
    told = ask(["sbatch", "--parsable", *depends, str(script)])
    number = told.strip().splitlines()[-1].split(";")[0] if told.strip() else ""
    if not number.isdecimal():
        raise UserError(f"sbatch {script}: a job's number expected, found {told.strip()[:200]!r}.")
    return number


def would_take(script: str) -> None:
    """Have SLURM look at a script without submitting it.

    Raises:
        UserError: it would refuse it, in its own words.
    """
    ask(["sbatch", "--test-only"], text=script)


def cancel(jobs: Iterable[str]) -> None:
    """Take jobs out of the queue, also those that run.

    Raises:
        UserError: SLURM does not answer.
    """
    if listed := list(jobs):
        ask(["scancel", *listed])


def missing() -> list[str]:
    """SLURM's commands that are not here."""
    return [name for name in COMMANDS if shutil.which(name) is None]


def is_stuck(entry: Entry) -> bool:
    """Whether somebody has to do something before a job can start."""
    return bool(_HELD.search(entry.reason)) or entry.state in ("REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")


def ask(
    command: Sequence[str], patience: float | None = None, text: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What one of SLURM's commands prints.

    Args:
        command: the program and its arguments.
        patience: seconds until it counts as hanging.
        text: its standard input.
        environment: variables on top of ours.

    Raises:
        UserError: it fails or hangs; the message has its own words.
    """
    # Variables such as SBATCH_TIMELIMIT and SQUEUE_FORMAT would change what a script says and what we read; in a job, those of
    # that job would. SLURM_CONF says where SLURM is.
    ours = {
        k: v
        for k, v in os.environ.items()
        if not re.match(r"(SBATCH|SQUEUE|SACCT|SCANCEL|SALLOC|SRUN)_|SLURM_", k) or k == "SLURM_CONF"
    }
    name = command[0]
    patience = PATIENCE if patience is None else patience
    try:
        done = subprocess.run(
            list(command),
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience,
            env={**ours, "LC_ALL": "C.UTF-8", **(environment or {})},
            start_new_session=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError(
            f"the program {name} was not found. Is this a login node of the cluster? Often:  module load slurm"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{name} has not answered within {patience:.0f} s. Is the controller there (scontrol ping)? Try again later: what "
            "has been submitted is found again."
        ) from error
    except OSError as error:
        raise UserError(f"{name} cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        words = " ".join(line.strip() for line in done.stderr.strip().splitlines()[-5:]) or f"exit code {done.returncode}"
        raise UserError(f"{name}: {words}")
    return done.stdout


def _user() -> str:
    try:
        return getpass.getuser() if not hasattr(os, "getuid") else str(os.getuid())
    except (KeyError, OSError):
        return ""
