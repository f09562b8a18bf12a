"""`study run`: prepares the datasets once, then works on the runs that are missing."""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from nnunet_fess import files, machine
from nnunet_fess.errors import UserError
from nnunet_fess.extension import VARIABLE, with_ours
from nnunet_fess.processes import programs, share
from nnunet_fess.processes.shell import Shell
from nnunet_fess.processes.stopping import STOPPED, terminable
from nnunet_fess.study import check, local, scripts, steps
from nnunet_fess.study.config import Local, Slurm, StudyFile
from nnunet_fess.study.data import Data, differences
from nnunet_fess.study.jobs import Job, jobs
from nnunet_fess.study.lock import LOCK, LOCKS, PACKAGES, lock_of, write_lock
from nnunet_fess.study.results import (
    LOG,
    RECORD,
    RUNS,
    Run,
    folder_of,
    read_run,
    read_runs,
    write_patients,
    write_run,
    write_runs,
)

NNUNET_RESULTS, OUTDATED, PREPARING = "nnUNet_results", "outdated", "prepare.log"
Prepared = dict[tuple[str, str], Data]  # by name and plans
_WAIT = 1.0  # seconds between two looks whether another call has prepared the data


def run_study(file: StudyFile) -> int:
    """Run what is missing, on this machine; the exit code is 1 if a run failed.

    Raises:
        UserError: something would fail, or a preparation did.
    """
    assert isinstance(file.study.executor, Local)
    found = checked(file)
    with terminable():
        with begun(file):
            data = prepared(file, found.data)
            runs = brought_up_to_date(file, data, jobs(file))
            record(file, runs, data)
        made = _executor(file, local.slots(file.study.executor), data, runs).work(runs)
    write_runs(file.results, made.values())
    return _told(file, list(made.values()))


def run_one(file: StudyFile, run_id: str, stop_within: float) -> int:
    """Work on one run on this machine, whatever the executor: what a job of a cluster does.

    At SIGUSR1 the training is told to write a checkpoint and to stop.

    Args:
        file: the study.
        run_id: which.
        stop_within: seconds after the signal; what still runs then is ended by force.

    Returns:
        0: it is finished; 75 (EX_TEMPFAIL): it has stopped at the signal, and the same call goes on with it.

    Raises:
        UserError: there is no such run, something would fail, or it failed.
    """
    wanted = [job for job in jobs(file) if job.id == run_id]
    if not wanted:
        raise UserError(f"{file.path} has no run {run_id}. Was the file changed? Its runs:  nnunet_fess study status FILE")
    found = checked(file, here=True)
    with terminable(), begun(file):
        of_run = (wanted[0].dataset, wanted[0].plans)
        data = prepared(file, [data for data in found.data if (data.given, data.plans_name) == of_run])
        recorded = read_run(file.results, run_id)
        if recorded is not None:
            _same(file, recorded, _planned_run(file, next(iter(data.values())), wanted[0]), "was submitted")
        runs = brought_up_to_date(file, data, wanted)
    slot = local.Slot(_cores(file))
    with terminable():
        executor = _executor(file, [slot], data, runs, read_runs(file.results) if (file.results / RUNS).is_file() else runs)
        if hasattr(signal, "SIGUSR1"):
            signal.signal(signal.SIGUSR1, lambda *_: executor.stop_soon(stop_within))
        made = executor.work(runs)
    (run,) = made.values()
    if run.status == "interrupted":
        return STOPPED
    return _told(file, [run])


def prepare_study(file: StudyFile) -> int:
    """Plan and preprocess what is missing, and no more.

    Raises:
        UserError: something would fail, or a preparation did.
    """
    found = checked(file, here=True, device=False)
    with terminable(), begun(file):
        prepared(file, found.data)
    return 0


def _cores(file: StudyFile) -> int:
    """Of a job: not every cluster binds its jobs to their cores, but each says how many they are."""
    executor = file.study.executor
    told = os.environ.get("SLURM_CPUS_PER_TASK", "")
    asked = int(told) if told.isdecimal() else executor.cpus if isinstance(executor, Slurm) else machine.cores()
    return max(1, min(machine.cores(), asked))


def checked(file: StudyFile, here: bool = False, device: bool = True) -> check.Found:
    """What a check found, warnings told.

    Args:
        file: the study.
        here: what is checked is this machine, whatever the executor.
        device: its GPU, too.

    Raises:
        UserError: something would fail.
    """
    found = check.check(file, here=here, device=device)
    if found.mistakes:
        raise UserError(check.told(found))
    for line in found.warnings:
        print(f"warning: {line}", file=sys.stderr)
    return found


@contextlib.contextmanager
def begun(file: StudyFile) -> Iterator[None]:
    """The study's folder is there, and for the block nobody else prepares or submits."""
    results = file.results
    (results / LOCKS).mkdir(parents=True, exist_ok=True)
    with _alone(results):
        if not (results / LOCK).is_file():  # makes the folder a study's
            write_lock(file, [])
        yield


def brought_up_to_date(
    file: StudyFile, data: Prepared, wanted: Sequence[Job], busy: Mapping[str, str] | None = None
) -> list[Run]:
    """The runs with what earlier calls have made of them; what was made of something else is set aside.

    Args:
        file: the study.
        data: its datasets, prepared, by name.
        wanted: which runs.
        busy: id → who works on a run, which then stays as it is.

    Raises:
        UserError: somebody works on a run that no longer is what the file says.
    """
    by_given = {(found.given, found.plans_name): found for found in data.values()}
    names = _names_by_model(file.results)
    runs = []
    for job in wanted:
        of_job = by_given[job.dataset, job.plans]
        planned = _planned_run(file, of_job, job)
        recorded = read_run(file.results, job.id)
        if busy and job.id in busy and recorded is not None:
            _same(file, recorded, planned, f"is being run as {busy[job.id]}")
            runs.append(recorded)
            continue
        runs.append(_as_it_is(of_job, file.results, planned, names.get(planned.model, ())))
        _announce(file.results, runs[-1])
    return runs


def record(file: StudyFile, runs: Sequence[Run], data: Prepared) -> None:
    """Write what the study is: its lock, its runs, and whose the cases are."""
    write_lock(file, runs)
    write_runs(file.results, runs)
    write_patients(file.results, {case: who for one in data.values() for case, who in one.recorded_patients().items()})


def _same(file: StudyFile, recorded: Run, planned: Run, who: str) -> None:
    changed = differences(recorded.made_of, planned.made_of) if recorded.made_of else []
    if changed:
        raise UserError(
            f"{planned.id} {who}, but {', '.join(changed)} changed since. Wait for it or cancel it, and submit what the file "
            f"now says:  nnunet_fess study cancel {file.path.name};  nnunet_fess study run {file.path.name}"
        )


def not_prepared(file: StudyFile, data: Data) -> list[Run]:
    """The runs of a dataset that is still to be prepared, announced as far as they are known."""
    runs = []
    for job in data.jobs:
        planned = _planned_run(file, data, job, prepared=False)
        runs.append(read_run(file.results, job.id) or planned)
        _announce(file.results, runs[-1])
    return runs


def _executor(
    file: StudyFile, slots: Sequence[local.Slot], data: Prepared, runs: Sequence[Run], listed: Sequence[Run] = ()
) -> local.Executor:
    return local.Executor(
        file.results,
        slots,
        lambda run: steps.following(data[run.dataset, run.plans], run, file.results),
        environment(file.results),
        changed=_Table(file.results, listed or runs).changed,
    )


def dry_run(file: StudyFile) -> int:
    """Print the commands that `run_study` would run, in order, with the variables that they need; change nothing."""
    found = checked(file, here=True, device=isinstance(file.study.executor, Local))
    executor = file.study.executor
    slot = local.slots(executor)[0] if isinstance(executor, Local) else local.Slot(executor.cpus)
    variables = {name: os.environ[name] for name in ("nnUNet_raw", "nnUNet_preprocessed") if os.environ.get(name)}
    variables |= {**environment(file.results), **slot.environment()}
    variables.pop("PATH")
    if isinstance(executor, Slurm):
        print(
            f"# One job per run; the script of the first:\n\n{scripts.training(file, jobs(file)[0].id)}\n# What the jobs run:\n"
        )
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    shown: set[str] = set()
    for data in found.data:
        todo = data.to_do()
        for title, command in todo:
            if (line := shlex.join(command)) not in shown:  # what several plans of a dataset start from
                print(f"\n# {title}\n{line}")
                shown.add(line)
        if data.splits.appended and data.name not in shown:
            shown.add(data.name)
            print(f"\n# {data.name}: training sets are appended to {', '.join(map(str, data.splits.files))}")
        for job in data.jobs:
            print(f"\n# {job.id}")
            for step in _ahead(file, data, job, prepared=not todo):
                print(shlex.join(step.by_hand))
    return 0


def _ahead(file: StudyFile, data: Data, job: Job, prepared: bool) -> Iterator[steps.Next]:
    """The commands of a run, as far as they can be told beforehand: what a training leaves decides what follows."""
    run = _planned_run(file, data, job, prepared)
    recorded = read_run(file.results, run.id) if prepared else None
    if recorded is None or differences(recorded.made_of, run.made_of):
        run = replace(run, model=Path(os.devnull))  # what lies there is not this run's
    step = steps.following(data, run, file.results)
    if step is None:
        return
    yield step
    if data.test is not None and step.title != steps.PREDICT:
        yield steps.predict(data, run, data.test, file.results)


def prepared(file: StudyFile, datasets: Sequence[Data]) -> Prepared:
    """Every dataset planned, preprocessed, with its training sets in nnU-Net's file, and verified; by name and plans."""
    variables = {**environment(file.results), **share.of_cores(machine.cores(), os.environ)}
    shell = Shell(file.results / PREPARING, variables)
    prepared = {}
    for found in datasets:
        data = Data(file, found.given, found.plans_name)  # what other plans of the dataset needed is there by now
        for title, command in data.to_do():
            shell.run(title, command)
        data = Data(file, data.given, data.plans_name)  # looks anew: planning copies the raw dataset's folds
        if data.splits.appended:
            data.splits.write()
            data = Data(file, data.given, data.plans_name)
        lacking = data.unprepared()
        if lacking:
            raise UserError(
                f"{data.name}: {len(lacking)} cases of its folds are not preprocessed, such as {lacking[0]}: nothing of it in "
                f"{data.cases}. Is its {check.SPLITS} that of another dataset?"
            )
        prepared[data.name, data.plans_name] = data
    return prepared


def _planned_run(file: StudyFile, data: Data, job: Job, prepared: bool = True) -> Run:
    study, results = file.study, file.results
    number = data.fold_numbers()[job.subset]
    model = results / NNUNET_RESULTS / data.name / f"{job.trainer_name}__{job.plans}__{study.configuration}" / f"fold_{number}"
    test = data.test
    return Run(
        id=job.id,
        dataset=data.name,
        configuration=study.configuration,
        plans=job.plans,
        trainer=job.trainer.label,
        trainer_name=job.trainer_name,
        seed=job.seed,
        fold=job.subset.fold,
        size=job.subset.size,
        repeat=job.subset.repeat,
        nnunet_fold=number,
        training_cases=len(data.splits.splits[number]["train"]),
        model=model,
        predictions=folder_of(results, job.id) / steps.PREDICTIONS if test else model / "validation",
        truth=test.labels if test else data.truth,
        dataset_json=data.dataset_json_file,
        made_of=data.made_of(job.trainer_name, number) if prepared else {},
        tested_on=data.tested_on(),
        versions=_versions(),
    )


def _as_it_is(data: Data, results: Path, planned: Run, names: Sequence[str]) -> Run:
    """A run with what an earlier call has made of it; what was made of something else is set aside."""
    recorded = read_run(results, planned.id) or _renamed(results, names, planned)
    if recorded is not None and not recorded.made_of and not recorded.steps:
        recorded = None  # announced before its data were prepared
    if recorded is not None and differences(recorded.made_of, planned.made_of):
        with _free(results, planned.id):
            _set_aside(results, recorded)
        recorded = None
    if recorded is None:
        recorded = _taken_back(results, planned)
    if recorded is None:
        if planned.model.exists():  # nnU-Net's results without a record: nobody can say what they were made of
            _set_aside(results, planned)
        return planned
    status = recorded.status
    if recorded.tested_on != planned.tested_on:
        status = "waiting"
        with _free(results, planned.id):
            _set_aside(results, recorded, trained=False)
    elif status == "running" and not files.is_held(lock_of(results, planned.id)):
        status = "interrupted"
        recorded = _with_its_last_seconds(results, recorded)
    elif status == "finished" and steps.following(data, planned, results) is not None:  # somebody has removed files of it
        status = "waiting"
    return replace(
        planned,
        status=status,
        steps=recorded.steps,
        reason=recorded.reason,
        environment=recorded.environment,
        host=recorded.host,
        versions=recorded.versions,
    )


def _with_its_last_seconds(results: Path, run: Run) -> Run:
    """A killed run, whose record could not be closed: its command ran at least until it last printed something."""
    if not run.steps or run.steps[-1].seconds:
        return run
    with contextlib.suppress(OSError, ValueError):
        begun = datetime.fromisoformat(run.steps[-1].started).timestamp()
        seconds = max(0.0, (folder_of(results, run.id) / LOG).stat().st_mtime - begun)
        return replace(run, steps=(*run.steps[:-1], replace(run.steps[-1], seconds=round(seconds, 2))))
    return run


def _announce(results: Path, run: Run) -> None:
    """Give a run its record before it has begun, so that all of `runs.csv` can be read at any time."""
    with contextlib.suppress(UserError), _free(results, run.id):  # whoever holds it writes its record
        if run.status != "finished":
            write_run(results, run)


def _set_aside(results: Path, run: Run, trained: bool = True) -> None:
    """Move a run that no longer is what the file says out of the way, or its predictions alone; nothing is lost."""
    folder = folder_of(results, run.id)
    wanted = ((run.model, "model"), (folder, "run")) if trained else ((folder / steps.PREDICTIONS, steps.PREDICTIONS),)
    if not any(source.exists() for source, _ in wanted):
        return
    number = 0
    while (results / OUTDATED / f"{run.id}.{number}").exists():
        number += 1
    place = results / OUTDATED / f"{run.id}.{number}"
    place.mkdir(parents=True)
    for source, name in wanted:
        if source.exists():
            source.rename(place / name)


def _names_by_model(results: Path) -> dict[Path, list[str]]:
    """What the runs with a record are called, by their model; read once for a whole study."""
    found: dict[Path, list[str]] = {}
    for record in sorted(results.glob(f"runs/*/{RECORD}")):
        with contextlib.suppress(UserError):  # damaged, or of another version
            if (run := read_run(results, record.parent.name)) is not None:
                found.setdefault(run.model, []).append(record.parent.name)
    return found


def _renamed(results: Path, names: Sequence[str], planned: Run) -> Run | None:
    """The record of a run that an earlier file called otherwise, under its new name; None if there is none.

    A second dataset, or second plans, are what every run's name then says, and change none of the runs that are there.

    Args:
        results: the study's folder.
        names: runs that had the planned one's model when the study was looked at; one may have been set aside since.
        planned: what the file says.
    """
    for name in names:
        run = read_run(results, name)
        if run is not None and run.model == planned.model and not differences(run.made_of, planned.made_of):
            with _free(results, run.id):  # raises where another call trains it, under the name that it knows
                folder_of(results, name).rename(folder_of(results, planned.id))
            return run
    return None


def _taken_back(results: Path, planned: Run) -> Run | None:
    """The record of a run that was set aside and is again what the file says, moved back; None if there is none."""
    for place in sorted((results / OUTDATED).glob(f"{planned.id}.*")):
        try:
            made_of = files.read_json(place / "run" / RECORD)["made_of"]
        except (UserError, KeyError, TypeError):
            continue
        if differences(made_of, planned.made_of) or planned.model.exists() or folder_of(results, planned.id).exists():
            continue
        if (place / "model").exists():
            planned.model.parent.mkdir(parents=True, exist_ok=True)
            (place / "model").rename(planned.model)
        (place / "run").rename(folder_of(results, planned.id))
        place.rmdir()
        return read_run(results, planned.id)
    return None


@contextlib.contextmanager
def _free(results: Path, run_id: str) -> Iterator[None]:
    with files.held_alone(
        lock_of(results, run_id),
        f"{run_id} is being run by another call, which was started with another file. Wait for it, or stop it.",
    ):
        yield


@contextlib.contextmanager
def _alone(results: Path) -> Iterator[None]:
    """One call at a time prepares; another waits for it."""
    told = False
    while True:
        try:
            with files.held_alone(results / LOCKS / ".prepare", "busy"):
                yield
                return
        except UserError as error:
            if str(error) != "busy":
                raise
        if not told:
            print("Another call is preparing this study's data; waiting for it.", flush=True)
            told = True
        time.sleep(_WAIT)


class _Table:
    """Keeps `runs.csv` up to date, though not so often that it costs anything."""

    def __init__(self, results: Path, runs: Sequence[Run]) -> None:
        self._results = results
        self._runs = {run.id: run for run in runs}
        self._next = 0.0

    def changed(self, run: Run) -> None:
        self._runs[run.id] = run
        begin = time.monotonic()
        if begin >= self._next:
            write_runs(self._results, [read_run(self._results, known.id) or known for known in self._runs.values()])
            self._next = time.monotonic() + 200 * (time.monotonic() - begin)


def environment(results: Path) -> dict[str, str]:
    """Variables of all commands of a study."""
    return {
        "nnUNet_results": str(results / NNUNET_RESULTS),
        VARIABLE: with_ours(os.environ.get(VARIABLE)),
        "PATH": programs.search_path(check.COMMANDS),
        "PYTHONUNBUFFERED": "1",  # a killed command's last words, and the epoch
    }


@functools.cache
def _versions() -> dict[str, str]:
    return machine.versions(PACKAGES)


def _told(file: StudyFile, runs: Sequence[Run]) -> int:
    """Say how it ended; the exit code."""
    failed = [run for run in runs if run.status == "failed"]
    finished = sum(run.status == "finished" for run in runs)
    elsewhere = len(runs) - finished - len(failed)
    print(f"{finished} of {len(runs)} runs are finished: {file.results}")
    if elsewhere:
        print(f"{elsewhere} are being run by another call")
    if failed:
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(run.id for run in failed[:5])}{', …' * (len(failed) > 5)}. "
            f"The reasons:  nnunet_fess study status {file.path.name}   The same call again tries them again."
        )
    return 0
