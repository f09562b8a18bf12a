"""`study status`: how far the runs are, from their records and logs alone."""

from __future__ import annotations

import time
from dataclasses import replace

from nnunet_fess import files
from nnunet_fess.errors import UserError
from nnunet_fess.study import cluster, progress
from nnunet_fess.study.config import Slurm, StudyFile
from nnunet_fess.study.jobs import jobs
from nnunet_fess.study.lock import lock_of
from nnunet_fess.study.results import LOG, Run, Status, folder_of, read_run

_EVERY, _EVERY_OF_A_QUEUE = 5.0, 30.0  # seconds; a controller has others to answer, too
_MOST_FAILED = 20


def statuses(file: StudyFile) -> list[tuple[str, Run | None]]:
    """Id and record of each run of the file, its status as it is now; None for one that was never begun."""
    found: list[tuple[str, Run | None]] = []
    for job in jobs(file):
        run = read_run(file.results, job.id)
        if run is not None:
            present = (job.trainer_name, job.plans, file.study.configuration)
            outdated = (run.trainer_name, run.plans, run.configuration) != present
            gone = run.status == "running" and not files.is_held(lock_of(file.results, run.id))
            status: Status = "outdated" if outdated else "interrupted" if gone else run.status
            run = replace(run, status=status)
        found.append((job.id, run))
    return found


def lines(file: StudyFile) -> list[str]:
    """What `study status` prints; of a cluster, what its queue says besides."""
    found = statuses(file)
    place = cluster.Place.of(file) if isinstance(file.study.executor, Slurm) else None
    if place is not None:
        found = [(run_id, run and place.judged(run)) for run_id, run in found]
    runs = [run for _, run in found if run is not None]
    running = [run for run in runs if run.status == "running"]
    nows = {run.id: progress.now(file.results, run) for run in running}
    lefts = {run_id: now.seconds_left for run_id, now in nows.items()}
    told = [f"{file.study.name}: {progress.overview(runs, lefts, len(running), len(found))}"]
    told += [f"  running  {run_id}: {now.text}{place.where(run_id) if place else ''}" for run_id, now in nows.items()]
    told += place.lines(dict(found)) if place is not None else []
    for status in ("interrupted", "outdated"):
        some = [run.id for run in runs if run.status == status and (place is None or run.id not in place.entries)]
        if some:
            told.append(f"  {status}  {', '.join(some[:5])}{', …' if len(some) > 5 else ''}: the next run does them again")
    failed = [run for run in runs if run.status == "failed"]
    for run in failed[:_MOST_FAILED]:
        told.append(f"  failed   {run.id}: {run.reason}\n           {folder_of(file.results, run.id) / LOG}")
    if len(failed) > _MOST_FAILED:
        told.append(f"  failed   {len(failed) - _MOST_FAILED} more, see {file.results / 'runs.csv'}")
    return told


def report(file: StudyFile) -> int:
    """Print it once."""
    if not file.results.is_dir():
        raise UserError(
            f"{file.results} does not exist; nothing has been run yet. Run it:  nnunet_fess study run {file.path.name}"
        )
    print("\n".join(lines(file)))
    return 0


def watch(file: StudyFile) -> int:
    """Print it again and again until every run has ended; on a terminal in place, elsewhere when it has changed."""
    board = progress.Board()
    before: list[str] = []
    while True:
        now = lines(file)
        board.show([line for text in now for line in text.split("\n")])
        if now != before and not board.terminal:
            print("\n".join(now), flush=True)
        before = now
        if all(run is not None and run.status in ("finished", "failed") for _, run in statuses(file)):
            return 0
        time.sleep(_EVERY_OF_A_QUEUE if isinstance(file.study.executor, Slurm) else _EVERY)
