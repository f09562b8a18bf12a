"""Runs jobs on this machine: each its part of the cores or a GPU of its own, none stopped by another's failure."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shlex
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import IO

from nnunet_fess import files, machine
from nnunet_fess.errors import UserError
from nnunet_fess.processes import share, stopping
from nnunet_fess.processes.guarded import Guarded, end
from nnunet_fess.processes.memory import Meter
from nnunet_fess.study import progress, steps
from nnunet_fess.study.config import Local
from nnunet_fess.study.lock import lock_of
from nnunet_fess.study.results import LOG, Run, Step, folder_of, read_run, write_run

PAUSE = 0.05  # seconds between two looks at the running commands
STOP = "stop"  # a file in a run's folder: its training is to stop at the end of its epoch (`nnunet_fess.processes.stopping`)
OUT_OF_TIME = "out of time, to be continued"
NO_PROGRESS = "out of time without a new checkpoint, to be tried once more"
_TERMINATED = (128 + signal.SIGTERM, 128 + getattr(signal, "SIGKILL", signal.SIGTERM))
_TOGETHER = 0.5  # seconds
_REASON_LINES, _REASON_BYTES = 3, 4000


@dataclass(frozen=True)
class Slot:
    """A part of the machine.

    Attributes:
        cores: how many.
        gpu: its number; None for none of its own.
    """

    cores: int
    gpu: int | None = None

    def environment(self) -> dict[str, str]:
        """Variables that keep a command within."""
        variables = share.of_cores(self.cores, os.environ)
        return variables if self.gpu is None else {**variables, **share.of_gpus(self.gpu, os.environ)}


def slots(executor: Local) -> list[Slot]:
    """The parts that the machine is divided into."""
    gpus: Sequence[int | None] = executor.gpus or [None] * executor.parallel
    return [Slot(max(1, machine.cores() // len(gpus)), gpu) for gpu in gpus]


class _Work:
    """A run that one of our slots works on, and whose lock we hold."""

    def __init__(self, run: Run, slot: Slot, lock: contextlib.ExitStack) -> None:
        self.run, self.slot, self.lock = run, slot, lock
        self.step: steps.Next | None = None
        self.process: Guarded | None = None
        self.meter: Meter | None = None
        self.log: IO[bytes] | None = None
        self.begin = 0.0
        self.restarted = self.told = False
        self.fruitless = run.reason == NO_PROGRESS  # the call before ran out of time, too


class Executor:
    """Works on runs until none is left that nobody works on.

    Args:
        results: the study's folder.
        parts: of the machine; so many runs at once.
        following: tells the next command of a run, None when it is finished.
        environment: variables of every command.
        changed: is told of each run whose record has changed.

    A training that fails is restarted once, where it has left a checkpoint to go on from.
    """

    def __init__(
        self,
        results: Path,
        parts: Sequence[Slot],
        following: Callable[[Run], steps.Next | None],
        environment: Mapping[str, str],
        changed: Callable[[Run], None],
    ) -> None:
        self._results = results
        self._free = list(parts)
        self._parallel = len(self._free)
        self._following = following
        self._environment = environment
        self._changed = changed
        self._board = progress.Board()
        self._busy: list[_Work] = []
        self._runs: dict[str, Run] = {}
        self._deadline: float | None = None

    def stop_soon(self, seconds: float) -> None:
        """Begin nothing more; trainings of ours write a checkpoint at the end of their epoch; end by force what lasts longer.

        Can be called by a signal's handler.
        """
        self._deadline = min(self._deadline or math.inf, time.monotonic() + seconds)

    def work(self, runs: Iterable[Run]) -> dict[str, Run]:
        """Run what is not finished; every run's last record, by its id."""
        self._runs = {run.id: run for run in runs}
        waiting = deque(run for run in self._runs.values() if run.status != "finished")
        elsewhere: list[Run] = []
        try:
            while waiting or self._busy:
                while waiting and self._free:
                    run = waiting.popleft()
                    if not self._take(run):
                        elsewhere.append(run)
                if self._deadline is not None:
                    waiting.clear()
                    self._hurry()
                for work in list(self._busy):
                    self._look(work)
                self._show()
                if self._busy:
                    time.sleep(PAUSE)
                elif not waiting and elsewhere:  # what another call has left in the meantime
                    left = [run for run in elsewhere if not files.is_held(lock_of(self._results, run.id))]
                    waiting.extend(run for run in left if self._reread(run).status != "finished")
                    elsewhere = [run for run in elsewhere if run not in left]
        finally:
            self._stop()
        for run in elsewhere:
            self._reread(run)
        return self._runs

    def _take(self, run: Run) -> bool:
        """Begin with a run, if nobody else works on it."""
        lock = contextlib.ExitStack()
        try:
            lock.enter_context(files.held_alone(lock_of(self._results, run.id), f"{run.id} is being run by another call"))
        except UserError:
            return False
        recorded = read_run(self._results, run.id)  # another call may have been at work since we looked
        known = recorded is not None and recorded.made_of == run.made_of
        run = replace(run, steps=recorded.steps if known and recorded else run.steps, host=platform.node())
        (folder_of(self._results, run.id) / STOP).unlink(missing_ok=True)
        self._begin(_Work(run, self._free.pop(0), lock))
        return True

    def _begin(self, work: _Work, after: str | None = None) -> None:
        """Start the next command of a run, or record that it is finished; `after` is the title of the command before."""
        try:
            work.step = self._following(work.run)
        except (UserError, OSError) as error:
            self._done(work, "failed", str(error))
            return
        if work.step is None:
            self._done(work, "finished", "")
            return
        if self._deadline is not None and after is not None:
            self._done(work, "interrupted", OUT_OF_TIME)
            return
        if work.step.title == after:
            self._done(work, "failed", f"“{after}” ended well, but what it should have made is not there")
            return
        line = shlex.join(work.step.command)
        try:
            steps.prepare(work.step, work.run)
            folder = folder_of(self._results, work.run.id)
            folder.mkdir(parents=True, exist_ok=True)
            work.log = (folder / LOG).open("ab")
        except OSError as error:
            self._done(work, "failed", f"{error.filename}: {error.strerror}")
            return
        work.log.write(f"\n$ {line}\n".encode())
        work.log.flush()
        variables = {**self._environment, **work.slot.environment(), stopping.VARIABLE: str(folder / STOP)}
        variables |= {name: os.environ[name] for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT") if name in os.environ}
        step = Step(line, datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds"))
        self._record(work, replace(work.run, status="running", reason="", environment=variables, steps=(*work.run.steps, step)))
        work.begin = time.monotonic()
        work.process = Guarded(work.step.command, work.log, {**os.environ, **variables})
        work.meter = Meter(work.process.pid)
        if work not in self._busy:
            self._busy.append(work)

    def _look(self, work: _Work) -> None:
        assert work.process is not None and work.meter is not None and work.step is not None
        code = work.process.poll()
        if code is None:
            work.meter.look()
            return
        if code in _TERMINATED:
            time.sleep(_TOGETHER)  # whoever ends us may have ended our command first; then this does not return
        end([work.process])
        self._ended(work, code)
        stopped = code == stopping.STOPPED or not (folder_of(self._results, work.run.id) / STOP).exists()
        if self._deadline is not None and stopped:
            self._done(work, "interrupted", OUT_OF_TIME)  # it has taken the file away: its checkpoint is written
            return
        if code != 0 and not self._restart(work, code):
            self._done(work, "failed", self._reason(work, code))
        if code != 0:
            return
        steps.complete(work.step)
        self._begin(work, work.step.title)

    def _restart(self, work: _Work, code: int) -> bool:
        """Go on from the checkpoint that a failed training has left; once, and whether it did."""
        assert work.step is not None
        if work.restarted or self._deadline is not None or not work.step.title.startswith(steps.TRAIN):
            return False
        with contextlib.suppress(UserError, OSError):
            following = self._following(work.run)
            if following is not None and following.title == steps.CONTINUED:
                work.restarted = True
                self._board.news(f"  again   {work.run.id} goes on from its checkpoint after {self._reason(work, code)}")
                self._begin(work)
                return True
        return False

    def _hurry(self) -> None:
        """Tell the trainings to stop; end by force what has not done so in time."""
        assert self._deadline is not None
        for work in self._busy:
            if not work.told:
                work.told = True
                (folder_of(self._results, work.run.id) / STOP).touch()
        if time.monotonic() < self._deadline:
            return
        for work in list(self._busy):
            if work.process is not None:
                begun = work.run.steps[-1].started
                end([work.process])
                self._ended(work, None)
                progress_made = steps.has_checkpoint_since(work.run, datetime.fromisoformat(begun))
                if work.fruitless and not progress_made:
                    self._done(
                        work, "failed", f"it ran out of time twice without a new checkpoint: {work.run.steps[-1].command}"
                    )
                else:
                    self._done(work, "interrupted", OUT_OF_TIME if progress_made else NO_PROGRESS)

    def _ended(self, work: _Work, code: int | None) -> None:
        """Note how the command ended."""
        assert work.log is not None and work.meter is not None
        work.log.close()
        seconds = round(time.monotonic() - work.begin, 2)
        last = replace(work.run.steps[-1], seconds=seconds, exit=code, peak_memory_mb=work.meter.peak_mb)
        work.run = replace(work.run, steps=(*work.run.steps[:-1], last))
        work.process = None

    def _done(self, work: _Work, status: str, reason: str) -> None:
        self._record(work, replace(work.run, status=status, reason=reason))  # type: ignore[arg-type]
        if work in self._busy:
            self._busy.remove(work)
        self._free.append(work.slot)
        (folder_of(self._results, work.run.id) / STOP).unlink(missing_ok=True)
        work.lock.close()
        spent = progress.duration(work.run.seconds)
        if status == "finished":
            self._board.news(f"  done    {work.run.id} ({spent})")
        elif status == "interrupted":
            self._board.news(f"  stopped {work.run.id} after {spent}: {reason}")
        else:
            log = folder_of(self._results, work.run.id) / LOG
            self._board.news(f"  failed  {work.run.id} after {spent}: {reason}\n          {log}")

    def _record(self, work: _Work, run: Run) -> None:
        work.run = self._runs[run.id] = run
        write_run(self._results, run)
        self._changed(run)

    def _reread(self, run: Run) -> Run:
        recorded = read_run(self._results, run.id)
        if recorded is not None and recorded.made_of == run.made_of:
            self._runs[run.id] = recorded
        return self._runs[run.id]

    def _reason(self, work: _Work, code: int) -> str:
        """The last lines of what it printed."""
        text = progress.tail(folder_of(self._results, work.run.id) / LOG, _REASON_BYTES)
        text = text[text.rfind("\n$ ") + 1 :].partition("\n")[2]
        lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
        killed = " (killed; often for want of memory)" if code == 137 else ""
        return f"exit code {code}{killed}" + (": " if lines else "") + " | ".join(lines[-_REASON_LINES:])

    def _show(self) -> None:
        if not self._board.due():
            return
        nows = {work.run.id: progress.now(self._results, work.run) for work in self._busy}
        lefts = {run_id: now.seconds_left for run_id, now in nows.items()}
        lines = [progress.overview(list(self._runs.values()), lefts, self._parallel, len(self._runs))]
        self._board.show([*lines, *(f"  {run_id}: {now.text}" for run_id, now in nows.items())])

    def _stop(self) -> None:
        """End what still runs, as Ctrl-C and errors want it, and say so in the records."""
        running = [work for work in self._busy if work.process is not None]
        end([work.process for work in running if work.process is not None])
        for work in list(self._busy):
            if work.process is not None:
                self._ended(work, None)
            self._record(work, replace(work.run, status="interrupted", reason="stopped"))
            work.lock.close()
        self._busy.clear()
