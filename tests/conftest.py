from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from nnunet_fess.machine import cores

# A shell starts background jobs deaf to Ctrl-C, and their children inherit that; tests of Ctrl-C need processes that hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Why a test may skip in CI: a regular expression a line, # for comments. Any other skip fails the run there.
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
# Each takes one to two GB.
MOST_WORKERS = 8


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs in as many processes as there are cores; for a file or two it is not worth starting them.

    Work is stolen rather than handed out by chance: what a module makes once for all of its tests is then made once mostly.
    With --cov only where -n says so: pytest-cov has looked before us whether there will be workers.
    """
    option = config.option
    if not hasattr(option, "numprocesses") or hasattr(config, "workerinput"):  # without pytest-xdist, or a worker itself
        return
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    if option.numprocesses is None and whole and not getattr(option, "cov_source", None):
        option.numprocesses = "auto"
    if option.numprocesses and option.dist == "no":
        option.dist = "worksteal"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    return min(cores(), MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[object]) -> None:
    """Workers share the cores: each computes with its part of them, and so does what it starts."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // len(specs))))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real volumes and golden values that lie beside a maintainer's checkout; nobody else needs them."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "golden").is_dir():
        pytest.skip(f"{folder} with real data and golden values is not here")
    return folder


def _unlisted(reports: list[pytest.TestReport]) -> list[str]:
    """The skips of this run whose reason is on no line of the list."""
    lines = ALLOWED_SKIPS.read_text("utf-8").splitlines()
    allowed = [re.compile(line) for line in lines if line.strip() and not line.startswith("#")]
    found = []
    for report in reports:
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if not hasattr(report, "wasxfail") and not any(pattern.search(reason) for pattern in allowed):
            found.append(f"{report.nodeid}: {reason}")
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """With CI set, a skip that is not on the list is a failure: a test that quietly stops running proves nothing."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None or exitstatus != pytest.ExitCode.OK:
        return
    if unlisted := _unlisted(reporter.stats.get("skipped", [])):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.ensure_newline()
        reporter.section("skips that are not in tests/allowed_skips.txt", red=True)
        for line in unlisted:
            reporter.line(line)
