"""What is said of machine and code."""

import os
import subprocess
import sys

from nnunet_fess import machine


def test_cores_are_those_of_this_process():
    if not hasattr(os, "sched_setaffinity"):
        assert machine.cores() == os.cpu_count()
        return
    code = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from nnunet_fess import machine; print(machine.cores())"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_a_processor_has_a_name():
    assert machine.processor()


def test_a_commit_of_a_checkout_and_none_elsewhere(tmp_path):
    assert machine.commit(tmp_path) is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *command], cwd=tmp_path, check=True)
    assert len(machine.commit(tmp_path)) == 40


def test_versions_name_what_is_missing():
    found = machine.versions(["torch", "no-such-thing"])
    assert found["python"] and found["torch"][0].isdigit()
    assert found["no-such-thing"] == "not installed"
