"""How the suite runs: in several processes when it is the whole, and a skip that nobody expects fails it in CI."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_fess.machine import cores

HERE = Path(__file__).parent
TELLS = """
import os

def test_it():
    print("worker", *map(os.environ.get, ("PYTEST_XDIST_WORKER", "OMP_NUM_THREADS")))
"""
SKIPS = "import pytest\n\ndef test_it():\n    pytest.skip({!r})\n"


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of one test, with this conftest and a list that allows one skip."""
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(HERE / "conftest.py", tests)
    (tests / "allowed_skips.txt").write_text("# a comment\nneeds a GPU\n")
    (tests / "test_tells.py").write_text(TELLS)
    return tmp_path


def run(suite: Path, *args: str, plugins: str = "xdist", **environment: str) -> tuple[int, str]:
    """Pytest without the plug-ins that take long to import; its exit code and what it printed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "OMP_", "COV_", "CI"))}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", plugins, "-p", "no:cacheprovider", "-rPs", *args],
        cwd=suite,
        env={**inherited, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(HERE.parent), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_whole_suite_runs_in_workers_each_with_its_part_of_the_cores(suite):
    code, said = run(suite)
    assert code == 0, said
    assert re.search(rf"worker gw\d {max(1, cores() // 8)}\b", said), "one thread a core, for eight workers at most"


@pytest.mark.parametrize(("args", "plugins"), [(["tests/test_tells.py"], "xdist"), (["-n0"], "xdist"), ([], "no:xdist")])
def test_a_file_alone_and_a_suite_without_xdist_run_in_one_process(suite, args, plugins):
    code, said = run(suite, *args, plugins=plugins)
    assert code == 0, said
    assert "worker None None" in said


@pytest.mark.parametrize(("workers", "told"), [([], "worker None"), (["-n2"], "worker gw")])
def test_coverage_is_measured_with_and_without_workers(suite, workers, told):
    code, said = run(suite, *workers, "-p", "pytest_cov", "--cov=tests")
    assert code == 0, said
    assert told in said
    assert re.search(r"tests/test_tells\.py +\d+ +0 +100%", said), said


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_in_ci_a_skip_that_is_not_listed_fails_the_run(suite, workers):
    (suite / "tests" / "test_listed.py").write_text(SKIPS.format("needs a GPU"))
    assert run(suite, workers, CI="true")[0] == 0
    (suite / "tests" / "test_unlisted.py").write_text(SKIPS.format("no time"))
    code, said = run(suite, workers, CI="true")
    assert code == 1, said
    assert "test_unlisted.py::test_it: Skipped: no time" in said
    assert "test_listed.py::test_it: " not in said
    assert run(suite, workers)[0] == 0, "outside of CI nobody minds"
