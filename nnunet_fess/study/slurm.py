"""A study on a cluster: a job per training, submitted where one is missing; evaluation when all have ended; cancelling."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.processes.stopping import terminable
from nnunet_fess.study import cluster, queue, run, scripts
from nnunet_fess.study.config import Slurm, StudyFile
from nnunet_fess.study.data import Data
from nnunet_fess.study.jobs import jobs
from nnunet_fess.study.queue import Entry
from nnunet_fess.study.results import Run


def submit_study(file: StudyFile) -> int:
    """Submit a job for every run that is missing and in no queue, and return; 1 if SLURM refused some.

    Datasets that are not prepared are prepared by a job, which the trainings wait for: planning and preprocessing take the
    cores and the memory that login nodes do not lend.

    Raises:
        UserError: something would fail; the queue cannot be read; SLURM takes no job.
    """
    assert isinstance(file.study.executor, Slurm)
    found = run.checked(file)
    with terminable(), run.begun(file):
        in_queue = cluster.queued(file)
        todo = [data for data in found.data if data.to_do()]
        ready = run.prepared(file, [data for data in found.data if data not in todo])  # runs nothing, but writes training sets
        runs = _runs(file, ready, todo, in_queue)
        run.record(file, runs, ready)
        wanted = [one for one in runs if one.status != "finished" and one.id not in in_queue]
        return _submit(file, runs, wanted, bool(todo), in_queue)


def _runs(file: StudyFile, ready: run.Prepared, todo: Sequence[Data], in_queue: Mapping[str, Entry]) -> list[Run]:
    given = {(data.given, data.plans_name) for data in ready.values()}
    busy = {name: f"job {entry.job} on {entry.nodes}" for name, entry in in_queue.items() if not entry.waits}
    planned = [one for data in todo for one in run.not_prepared(file, data)]
    planned += run.brought_up_to_date(file, ready, [job for job in jobs(file) if (job.dataset, job.plans) in given], busy)
    by_id = {one.id: one for one in planned}
    return [by_id[job.id] for job in jobs(file)]


def _submit(file: StudyFile, runs: Sequence[Run], wanted: Sequence[Run], prepare: bool, in_queue: Mapping[str, Entry]) -> int:
    results = file.results
    for dead in (entry for entry in queue.entries(scripts.mark_of_study(results)) if entry.reason in queue.NEVER):
        queue.cancel([dead.job])
    refused = ""
    submitted: dict[str, str] = {}
    after = ""
    try:
        if prepare:
            if scripts.PREPARE not in in_queue:
                submitted[scripts.PREPARE] = _one(file, scripts.PREPARE, scripts.preparation(file))
            number = submitted.get(scripts.PREPARE) or in_queue[scripts.PREPARE].job
            after = f"afterok:{number}"
        for one in wanted:
            submitted[one.id] = _one(file, one.id, scripts.training(file, one.id), after)
    except UserError as error:
        refused = str(error)
    finally:
        _remember(results, submitted)
    waited_for = [in_queue[one.id].job for one in runs if one.id in in_queue]
    waited_for += [submitted[one.id] for one in runs if one.id in submitted]
    trainings = [name for name in submitted if name != scripts.PREPARE]
    if trainings or (waited_for and scripts.EVALUATE not in in_queue):
        refused = refused or _evaluation(file, waited_for, in_queue)
    finished = sum(one.status == "finished" for one in runs)
    print(f"{finished} of {len(runs)} runs are finished, in the queue before: {len(runs) - finished - len(wanted)}")
    if submitted:
        print(f"submitted: {len(trainings)}" + (", after a job that prepares the data" if prepare else ""))
        print(f"scripts and what the jobs print: {results / scripts.FOLDER}")
    if finished == len(runs):
        print(f"all is done; the report:  nnunet_fess study report {file.path.name}")
    if refused:
        left = len(wanted) - len(trainings)
        raise UserError(f"{refused}\n{left} runs are not submitted. The same call again submits what is missing.")
    return 0


def _one(file: StudyFile, name: str, text: str, after: str = "") -> str:
    if not scripts.write(file.results, name, text):
        print(f"{scripts.script_of(file.results, name)} was changed by somebody and is submitted as it is")
    return queue.submit(scripts.script_of(file.results, name), after)


def _evaluation(file: StudyFile, waited_for: Sequence[str], in_queue: Mapping[str, Entry]) -> str:
    """Submit the evaluation anew, for all that is in the queue; what went wrong."""
    known = in_queue.get(scripts.EVALUATE)
    try:
        if known is not None:
            queue.cancel([known.job])
        number = _one(file, scripts.EVALUATE, scripts.evaluation(file), f"afterany:{':'.join(waited_for)}")
    except UserError as error:
        by_hand = f"nnunet_fess study report {shlex.quote(file.path.name)}"
        return f"the evaluation is not submitted ({error}); when all is done:  {by_hand}"
    _remember(file.results, {scripts.EVALUATE: number})
    return ""


def cancel_study(file: StudyFile) -> int:
    """Take all jobs of the study out of the queue.

    Raises:
        UserError: the study runs on this machine, or SLURM does not answer.
    """
    if not isinstance(file.study.executor, Slurm):
        raise UserError(f"{file.path} runs on this machine: stop it with Ctrl-C where  study run  was called.")
    entries = [entry for entry in queue.entries(scripts.mark_of_study(file.results)) if entry.state not in queue.ENDED]
    # what waits for others first, lest it starts when they end
    _in_turn(sorted(entries, key=lambda entry: not entry.waits))
    running = sum(not entry.waits for entry in entries)
    print(f"cancelled {len(entries)} jobs, {running} of which were running; what they have reached stays")
    print(f"go on:  nnunet_fess study run {file.path.name}")
    return 0


def _in_turn(entries: Sequence[Entry]) -> None:
    for begin in range(0, len(entries), 200):  # a command line holds only so much
        queue.cancel(entry.job for entry in entries[begin : begin + 200])


def _remember(results: Path, numbers: Mapping[str, str]) -> None:
    if numbers:
        files.write_json(results / scripts.FOLDER / cluster.SUBMITTED, {**cluster.submitted(results), **numbers})
