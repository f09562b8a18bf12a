"""A study's jobs on a cluster, as far as SLURM knows of them: why they wait, where they run, how those ended that are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study import queue, scripts
from nnunet_fess.study.config import StudyFile
from nnunet_fess.study.jobs import jobs
from nnunet_fess.study.queue import Entry
from nnunet_fess.study.results import Run

SUBMITTED = "submitted.json"  # name → number of its last job: what to ask the accounting for
_PATIENCE = 15.0  # seconds for the queue; a status without it is better than none
_MOST = 5


def queued(file: StudyFile, patience: float | None = None) -> dict[str, Entry]:
    """Name → its job that is in the queue or runs; of several the one that is furthest.

    Raises:
        UserError: SLURM does not answer.
    """
    return {name: entry for name, entry in latest(file, patience).items() if not entry.ended}


def latest(file: StudyFile, patience: float | None = None) -> dict[str, Entry]:
    """Name → its last job that the controller knows of, ended minutes ago or not; one that has not ended goes first."""
    results = file.results
    names = {
        scripts.mark_of(results, name): name for name in [*(job.id for job in jobs(file)), scripts.PREPARE, scripts.EVALUATE]
    }
    found: dict[str, Entry] = {}
    entries = queue.entries(scripts.mark_of_study(results), patience)
    for entry in sorted(entries, key=lambda entry: (not entry.ended, not entry.waits, int(entry.job.split("_")[0]))):
        if entry.comment in names:
            found[names[entry.comment]] = entry
    return found


def submitted(results: Path) -> dict[str, str]:
    """Name → number of the job that was submitted last."""
    try:
        content: Any = files.read_json(results / scripts.FOLDER / SUBMITTED)
        return {str(name): str(number) for name, number in content.items()}
    except (UserError, AttributeError):  # nothing was submitted; a damaged file costs details only
        return {}


@dataclass(frozen=True)
class Place:
    """A study's jobs.

    Attributes:
        file: the study.
        entries: name → its last job that SLURM knows of, in the queue, by its controller or by the accounting.
        trouble: why the queue cannot be read; empty if it can.
    """

    file: StudyFile
    entries: Mapping[str, Entry]
    trouble: str = ""

    @classmethod
    def of(cls, file: StudyFile) -> Place:
        """Ask the queue, and of jobs that it no longer knows the accounting, if there is one."""
        known = submitted(file.results)
        try:
            entries = latest(file, _PATIENCE)
        except UserError as error:
            return cls(file, {}, str(error))
        gone = {name: job for name, job in known.items() if name not in entries}
        ended = queue.history(list(gone.values()), _PATIENCE)
        return cls(file, {**entries, **{name: ended[job] for name, job in gone.items() if job in ended}})

    def judged(self, run: Run) -> Run:
        """A run with its status corrected by the queue: where a file system has no locks, records cannot tell who is alive."""
        if self.trouble or run.status not in ("running", "interrupted"):
            return run
        entry = self.entries.get(run.id)
        if "SLURM_JOB_ID" not in run.environment or entry is None:
            return run
        return replace(run, status="interrupted" if entry.ended else "waiting" if entry.waits else "running")

    def where(self, run_id: str) -> str:
        """Job, node and time of a running run, in brackets."""
        entry = self.entries.get(run_id)
        if entry is None or entry.ended:
            return ""
        return f"  (job {entry.job} on {entry.nodes}, {entry.elapsed} of {entry.limit})"

    def lines(self, runs: Mapping[str, Run | None]) -> list[str]:
        """What the queue adds, a line per reason."""
        if self.trouble:
            return [f"  queue    cannot be read, so what waits and what was lost is not known: {self.trouble}"]
        return [*self._waiting(), *self._lost(runs), *self._besides()]

    def _waiting(self) -> Iterator[str]:
        trainings = {name: entry for name, entry in self.entries.items() if name not in (scripts.PREPARE, scripts.EVALUATE)}
        reasons = Counter(entry.reason for entry in trainings.values() if entry.waits)
        for reason, number in reasons.most_common():
            alike = {name: entry for name, entry in trainings.items() if entry.waits and entry.reason == reason}
            shown = ", ".join(f"{name} (job {entry.job})" for name, entry in list(alike.items())[:_MOST])
            starts = min(entry.starts for entry in alike.values())
            expected = f", the first not before {starts}" if starts not in ("N/A", "") else ""
            yield f"  queued   {number} for {_explained(reason)}{expected}: {shown}{', …' if number > _MOST else ''}"
            stuck = [entry.job for entry in alike.values() if queue.is_stuck(entry)]
            if stuck:
                yield f"           will not start by itself:  scontrol show job {stuck[0]};  scontrol release {','.join(stuck)}"

    def _lost(self, runs: Mapping[str, Run | None]) -> Iterator[str]:
        """Jobs that ended and have not said themselves how; those whose node failed."""
        for name, entry in self.entries.items():
            run = runs.get(name)
            if name not in runs or not entry.ended or (run is not None and run.status in ("finished", "failed")):
                continue
            state = entry.state if entry.reason not in queue.NEVER else f"{entry.state}, {entry.reason}"
            where = f" on {entry.nodes}" if entry.nodes else ""
            log = scripts.output_of(self.file.results, name)
            yield f"  lost     {name}: job {entry.job} ended as {state}{where}; the next run submits it again\n           {log}"
        told = {entry.job for entry in self.entries.values()}
        for name, job in submitted(self.file.results).items():
            run = runs.get(name)
            begun = run is not None and run.status in ("finished", "failed", "running")
            if name in runs and name not in self.entries and job not in told and not begun:
                log = scripts.output_of(self.file.results, name)
                yield f"  lost     {name}: job {job} is in no queue any more; the next run submits it again\n           {log}"

    def _besides(self) -> Iterator[str]:
        for name in (scripts.PREPARE, scripts.EVALUATE):
            entry = self.entries.get(name)
            if entry is None or entry.state == "COMPLETED":
                continue
            what = f"waits for {_explained(entry.reason)}" if entry.waits else entry.state.lower()
            log = f"\n           {scripts.output_of(self.file.results, name)}" if entry.ended else ""
            yield f"  {name:<9}job {entry.job}: {what}{log}"


# SLURM's words for what users meet most; its others are told as they are.
_WORDS = {
    "Resources": "free resources",
    "Priority": "jobs of higher priority",
    "Dependency": "other jobs",
    "BeginTime": "its time to begin, after a requeue some two minutes",
    "JobHeldUser": "you, who have held it",
    "JobHeldAdmin": "the administrator, who has held it",
    "ReqNodeNotAvail": "nodes that are down or reserved",
    "PartitionDown": "its partition, which is down",
    "None": "SLURM, which has not looked at it yet",
}


def _explained(reason: str) -> str:
    words = _WORDS.get(reason.split(",")[0].strip())
    return f"{words} ({reason})" if words and reason != "None" else words or reason
