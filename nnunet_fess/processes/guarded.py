"""A command as processes of its own, which all end when it ends, when we say so, and when we are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, overload

from nnunet_fess.processes import guard

_PATIENCE = 5.0  # seconds a terminated command gets to end before it is killed


class Guarded:
    """A command that has been started.

    On POSIX no process of it outlives us, however we end. On Windows workers may, and the command itself does if we are
    killed outright.

    Args:
        command: the program and its arguments.
        log: file that collects what it prints.
        environment: all its variables.
        folder: where it runs; None for the present one.
    """

    def __init__(
        self, command: Sequence[str], log: IO[bytes], environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        if os.name == "posix":
            # A session of its own: nnU-Net's workers can then be ended together, and Ctrl-C reaches us alone.
            self._process = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
            )
        else:
            self._process = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment), cwd=folder
            )

    @property
    def pid(self) -> int:
        """Of its first process; on POSIX of its group, too."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code as a shell has it; None while it runs."""
        return _as_a_shell(self._process.poll())

    def wait(self, timeout: float) -> int:
        """The same, after at most that many seconds.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        return _as_a_shell(self._process.wait(timeout=timeout))

    def signal(self, number: int) -> bool:
        """Send a signal to all its processes; whether there were any."""
        if os.name != "posix":
            self._process.kill()
            return False
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
            return False
        return True

    def close(self) -> None:
        """Reap it."""
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


@overload
def _as_a_shell(code: int) -> int: ...
@overload
def _as_a_shell(code: None) -> None: ...
def _as_a_shell(code: int | None) -> int | None:
    """The guard itself may be what a signal has ended."""
    return 128 - code if code is not None and code < 0 else code


def end(commands: Sequence[Guarded]) -> None:
    """End the commands, at the same time, and on POSIX whatever they have started and not taken down themselves."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        left = [command for command in commands if command.signal(number)]
        deadline = time.monotonic() + _PATIENCE
        while left and time.monotonic() < deadline:
            for command in left:
                command.poll()  # reaps the leader, which else would stay in its group as a zombie
            left = [command for command in left if command.signal(0)]
            if left:
                time.sleep(0.02)
    for command in commands:
        command.close()
