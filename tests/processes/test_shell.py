import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.processes.shell import Shell

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie whose new parent is slow to reap it is dead enough.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path / "demo.log", {"DEMO_VARIABLE": "set"})


def test_shows_the_command_and_logs_its_output(shell, capsys):
    shell.run("Say it", [sys.executable, "-c", "import os; print(os.environ['DEMO_VARIABLE'])", "a b"])
    shown = capsys.readouterr().out
    assert f"$ {sys.executable} -c 'import os; print" in shown
    assert shown.rstrip().endswith("s")
    assert "'a b'" in shell.commands[0]
    log = shell.log.read_text()
    assert log.splitlines()[-1] == "set"
    assert f"$ {shell.commands[0]}" in log


def test_a_failure_shows_the_last_lines_and_the_log(shell):
    code = "import sys; print(*range(100), sep='\\n'); print('10%\\r20%\\rbroken', file=sys.stderr); sys.exit(3)"
    with pytest.raises(UserError) as caught:
        shell.run("Break", [sys.executable, "-c", code])
    message = str(caught.value)
    assert "“Break” failed with exit code 3" in message
    assert str(shell.log) in message
    assert "  | broken" in message
    assert "%" not in message
    assert "\n  | 99" in message
    assert "\n  | 5\n" not in message


def test_a_failure_does_not_quote_an_earlier_command(shell):
    shell.run("First", [sys.executable, "-c", "print('fine')"])
    with pytest.raises(UserError) as caught:
        shell.run("Second", [sys.executable, "-c", "raise SystemExit(1)"])
    assert "fine" not in str(caught.value)


def test_shows_the_epoch(shell, capsys):
    code = "import time; print('2026-01-01 00:00:00.1: Epoch 1', flush=True); time.sleep(1.5)"
    shell.run("Train", [sys.executable, "-c", code], epochs=6)
    assert "epoch 2 of 6" in capsys.readouterr().out


def test_after_the_last_epoch_it_says_that_it_validates(shell, capsys):
    lines = ["Epoch 5", "Training done.", "predicting case_a", "predicting case_b"]
    code = f"import time; [print('2026-01-01 00:00:00.1: ' + line, flush=True) for line in {lines}]; time.sleep(1.5)"
    shell.run("Train", [sys.executable, "-c", code], epochs=6)
    out = capsys.readouterr().out
    assert "validating, case 2" in out
    assert "epoch 6 of 6" not in out


_PARENT = """
import os, subprocess, sys, time
children = [subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])]
open(sys.argv[1], "w").write(f"{{children[0].pid}} {{os.getpid()}}\\n")
{then}
"""


def _pids(path):
    _wait_for(lambda: path.exists() and path.read_text().endswith("\n"))
    return [int(pid) for pid in path.read_text().split()]


def _start_demo(tmp_path):
    """A demo in the middle of a stage, seen from outside; the stage writes its processes into the file pid."""
    demo = f"""
import sys
from pathlib import Path
from nnunet_fess.processes.stopping import terminable
from nnunet_fess.processes.shell import Shell
with terminable():
    command = [sys.executable, "-c", {_PARENT.format(then="time.sleep(600)")!r}, {str(tmp_path / "pid")!r}]
    Shell(Path({str(tmp_path / "log")!r}), {{}}).run("Wait", command)
"""
    return subprocess.Popen([sys.executable, "-c", demo], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_no_child_outlives_a_finished_command(shell, tmp_path):
    shell.run("Leave a child", [sys.executable, "-c", _PARENT.format(then=""), str(tmp_path / "pid")])
    for pid in _pids(tmp_path / "pid"):
        _wait_for(lambda pid=pid: not _alive(pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_no_child_outlives_a_stopped_demo(tmp_path, number):
    process = _start_demo(tmp_path)
    pids = _pids(tmp_path / "pid")
    process.send_signal(number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert out.rstrip().endswith("stopped")
    for pid in pids:
        _wait_for(lambda pid=pid: not _alive(pid))


def test_no_child_outlives_a_killed_demo(tmp_path):
    """SIGKILL gives the demo no chance to end the stage."""
    process = _start_demo(tmp_path)
    pids = _pids(tmp_path / "pid")
    assert all(map(_alive, pids))
    process.kill()
    process.communicate(timeout=30)
    try:
        for pid in pids:
            _wait_for(lambda pid=pid: not _alive(pid), seconds=5)
    finally:
        for pid in filter(_alive, pids):
            os.kill(pid, signal.SIGKILL)
