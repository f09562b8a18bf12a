"""The memory of a command is that of all its processes, shared pages counted once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nnunet_fess.processes.memory import Meter

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs /proc to see the workers")

# forks two workers that only read what the parent has: together they hold it once
PARENT = """
import os, sys, time
data = bytearray(200 * 2**20)
for _ in range(2):
    if os.fork() == 0:
        time.sleep(60)
print("ready", flush=True)
time.sleep(60)
"""


def test_processes_together_and_shared_pages_once():
    process = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout.readline() == "ready\n"
        meter = Meter(process.pid)
        meter.look()
        assert 200 <= meter.peak_mb < 300
        before = meter.peak_mb
        meter.look()  # too early: not looked at again
        assert meter.peak_mb == before
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_a_process_that_is_gone_is_no_error():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    meter = Meter(process.pid)
    begin = time.monotonic()
    meter.look()
    assert meter.peak_mb is None
    assert time.monotonic() - begin < 10
