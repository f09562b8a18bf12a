import os
import subprocess
import sys

import pytest

from nnunet_fess.processes import guard

pytestmark = pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX's")


def _start(code):
    command = [sys.executable, "-I", guard.__file__, sys.executable, "-c", code]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import sys; sys.exit(len(sys.stdin.read()))", 0),  # the pipe is the guard's: a command that reads does not wait
    ],
)
def test_exit_code_of_the_command(code, expected):
    with _start(code) as process:
        assert process.wait(timeout=20) == expected


def test_closed_pipe_ends_the_command():
    """Even one that will not be asked."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
    with _start(code) as process:
        assert process.stdout.readline() == "ready\n"
        process.stdin.close()
        assert process.stdout.read() == ""  # the command's end of it is closed
        assert process.wait(timeout=5) == -9


def test_a_terminated_group_waits_for_its_command():
    code = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
print("ready", flush=True)
time.sleep(600)
"""
    with _start(code) as process:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, 15)
        assert process.wait(timeout=20) == 5
