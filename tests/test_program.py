from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_fess import program
from nnunet_fess.errors import UserError

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and pipes")


def _raise(error):
    raise error


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("x is wrong"), 1, "prog: x is wrong\n"),
        (KeyboardInterrupt(), 130, "prog: interrupted\n"),
        (PermissionError(13, "Permission denied", "/data/x"), 1, "prog: /data/x: Permission denied\n"),
        (OSError(28, "No space left on device"), 1, "prog: No space left on device\n"),
        (OSError(18, "Invalid cross-device link", "/a", None, "/b"), 1, "prog: /a → /b: Invalid cross-device link\n"),
        (OSError("a message alone"), 1, "prog: a message alone\n"),
        (MemoryError("Unable to allocate 3 TiB"), 1, "prog: not enough memory. Unable to allocate 3 TiB\n"),
        (BrokenPipeError(32, "Broken pipe"), 141, ""),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(capsys, error, code, line):
    assert program.run("prog", lambda: _raise(error)) == code
    assert capsys.readouterr().err == line


def test_a_bug_stays_a_traceback():
    with pytest.raises(ZeroDivisionError):
        program.run("prog", lambda: _raise(ZeroDivisionError()))


def test_the_works_own_exit_code_is_kept():
    assert program.run("prog", lambda: 7) == 7


def _start(code, **streams):
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys\nfrom nnunet_fess.program import *\n{code}"], text=True, **streams
    )


PRINTS = "sys.exit(run('prog', lambda: print('λ\\n' * 100_000) or 0))"


@posix
@pytest.mark.parametrize("lines", [0, 1])
def test_a_reader_that_has_gone_is_no_error(lines):
    with _start(PRINTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        for _ in range(lines):
            process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 141


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has /dev/full")
@pytest.mark.parametrize("text", ["x", "x" * 100_000], ids=["at the end", "in the middle"])
def test_a_full_disk_under_stdout_is_one_line(text):
    with (
        Path("/dev/full").open("w") as full,
        _start(f"sys.exit(run('prog', lambda: print({text!r}) or 0))", stdout=full, stderr=subprocess.PIPE) as process,
    ):
        assert process.stderr.read() == "prog: No space left on device\n"
        assert process.wait() == 1


@posix
@pytest.mark.parametrize("stream", ["1", "2"])
def test_a_closed_stream_is_no_error(stream):
    code = "import sys; from nnunet_fess.program import *; sys.exit(run('prog', lambda: print('x') or 3))"
    done = subprocess.run(["bash", "-c", f'"$0" -c "$1" {stream}>&-', sys.executable, code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")


@posix
def test_ctrl_c_while_there_is_nothing_to_undo_ends_at_once():
    """Even where an import would have swallowed the exception."""
    code = """
def imports():
    with nothing_to_undo("prog"):
        print("ready", flush=True)
        import time
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
run("prog", imports)
"""
    with _start(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr.read() == "prog: interrupted\n"


def test_ctrl_c_is_itself_again_afterwards():
    with program.nothing_to_undo("prog"):
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@posix
def test_a_background_job_stays_deaf_to_ctrl_c():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with program.nothing_to_undo("prog"):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@posix
def test_workers_do_not_hear_ctrl_c():
    with program.starting_workers():
        worker = subprocess.Popen([sys.executable, "-c", "import sys, time; time.sleep(0.5); print('done', flush=True)"])
    worker.send_signal(signal.SIGINT)
    assert worker.wait(timeout=20) == 0
    with pytest.raises(KeyboardInterrupt):  # and we do again
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)


@pytest.mark.skipif(sys.platform == "win32", reason="file descriptors are numbered otherwise")
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_a_closed_stream_is_nobodys_file(closed, tmp_path):
    """A file that takes the number of a closed stream would receive what is printed."""
    code = f"""
import os, sys
os.close({closed})
sys.{("stdin", "stdout", "stderr")[closed]} = None
from nnunet_fess import program
def work():
    with open({str(tmp_path / "mine")!r}, "w") as mine:
        os.write(2, b"from C")
        sys.stdout.write("text")
        return int(mine.fileno() < 3)
sys.exit(program.run("x", work))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (tmp_path / "mine").read_text() == ""
