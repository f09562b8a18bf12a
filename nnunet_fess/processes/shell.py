"""Runs one command after the other: shown so that it can be copied, with progress, output in a log, no child left behind."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from nnunet_fess.errors import UserError
from nnunet_fess.processes.guarded import Guarded, end

# What nnU-Net's log says of a training: each epoch, the end of the last, and each case of the validation that follows.
_EPOCH = re.compile(r"^\S+ \S+: Epoch (\d+)", re.MULTILINE)
_TRAINED = re.compile(r"^\S+ \S+: Training done", re.MULTILINE)
_VALIDATED = re.compile(r"^\S+ \S+: predicting ", re.MULTILINE)
_RECENT = 1 << 16  # bytes of the log that are searched for news
_TAIL_LINES = 15


class Shell:
    """Runs commands one after the other, all with the same environment and log.

    On POSIX no process of a command outlives us, however we end. On Windows workers
    may, and the command itself does if we are killed outright.

    Args:
        log: file that collects what the commands print.
        environment: variables set on top of the present environment.
    """

    def __init__(self, log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self.commands: list[str] = []
        self._environment = {**os.environ, **environment}

    def run(self, title: str, command: Sequence[str], epochs: int | None = None) -> None:
        """Run a command to its end.

        Args:
            title: what it does, in a few words.
            command: the program and its arguments.
            epochs: how many epochs the training will have, if it is one and the number is known; for the progress line only.

        Raises:
            UserError: it failed; the message ends with the last lines of its output.
        """
        line = shlex.join(command)
        self.commands.append(line)
        print(f"\n{title}\n  $ {line}", flush=True)
        with self.log.open("ab") as log:
            log.write(f"\n\n$ {line}\n".encode())
            log.flush()
            begin = log.tell()
            process = Guarded(command, log, self._environment)
            code = self._wait(process, begin, epochs)
        if code != 0:
            tail = "\n".join(f"  | {text}" for text in self._output(begin).splitlines()[-_TAIL_LINES:])
            raise UserError(f"“{title}” failed with exit code {code}. The last lines of {self.log}:\n{tail}")

    def _wait(self, process: Guarded, begin: int, epochs: int | None) -> int:
        start = time.monotonic()
        progress = _Progress()
        try:
            while True:
                try:
                    code = process.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    progress.show(self._news(begin, epochs), time.monotonic() - start)
        except BaseException:
            progress.end("stopped")
            raise
        finally:
            end([process])
        progress.end(f"{'done' if code == 0 else 'failed'} after {time.monotonic() - start:.0f} s")
        return code

    def _news(self, begin: int, epochs: int | None) -> str:
        recent = self._output(max(begin, self.log.stat().st_size - _RECENT))
        if trained := _TRAINED.search(recent):
            cases = len(_VALIDATED.findall(recent, trained.end()))
            return "validating" + (f", case {cases}" if cases else "")
        seen = _EPOCH.findall(recent)
        if not seen:
            return "running"
        return f"epoch {int(seen[-1]) + 1}" + (f" of {epochs}" if epochs else "")

    def _output(self, begin: int) -> str:
        with self.log.open("rb") as log:
            log.seek(begin)
            text = log.read().decode(errors="replace")
        return re.sub(r"[^\n]*\r(?=[^\n])", "", text)  # of a progress bar, what it showed last


class _Progress:
    """One line that is rewritten on a terminal; elsewhere a line per news."""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()
        self._news = "running"

    def show(self, news: str, seconds: float) -> None:
        if self._terminal:
            print(f"\r\x1b[K  … {news}, {seconds:.0f} s", end="", flush=True)
        elif news != self._news:
            print(f"  … {news}, {seconds:.0f} s", flush=True)
        self._news = news

    def end(self, news: str) -> None:
        print(f"{chr(13)}\x1b[K  {news}" if self._terminal else f"  {news}", flush=True)
