"""SIGKILL at any moment of a training, while a checkpoint is written too: `--c` finishes it as if nothing had been."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import time
from pathlib import Path
from typing import Any

import pytest
import tiny_training
import torch

from nnunet_fess.trainers.checkpoints import NAMES
from nnunet_fess.trainers.components import CSV_NAME

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills as POSIX systems do")
NAME = "nnUNetTrainerSupCon_queue6_5epochs_3iters_2valiters_saveevery2_seed5"
BY_TIME, IN_A_WRITE = 22, 8


class Runs:
    """Trainings in processes of their own, which need not import torch anew."""

    def __init__(self, root: Path):
        self.root = root
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["tiny_training"])
        tiny_training.preprocess(root / "preprocessed")

    def start(self, results: Path, continues: bool = False, die_in_write: int = 0) -> Any:
        arguments = (str(self.root), str(results), NAME, continues, die_in_write)
        process = self.context.Process(target=tiny_training.train, args=arguments)
        process.start()
        return process

    def finish(self, process: Any) -> int:
        process.join(1800)  # seconds, where nothing else is to be done
        if process.is_alive():
            process.kill()
            pytest.fail("a training of seconds has not ended after half an hour")
        return process.exitcode

    @staticmethod
    def folder(results: Path) -> Path:
        return results / "Dataset999_Tiny" / f"{NAME}__nnUNetPlans__tiny" / "fold_0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Runs:
    return Runs(tmp_path_factory.mktemp("killed"))


@pytest.fixture(scope="module")
def straight(runs) -> tuple[Path, float]:
    """The folder of a training that nobody disturbs, and its seconds."""
    assert runs.finish(runs.start(runs.root / "warm up")) == 0
    start = time.monotonic()
    assert runs.finish(runs.start(runs.root / "straight")) == 0
    return runs.folder(runs.root / "straight"), time.monotonic() - start


# All thirty take half an hour: a few of either kind in each CI, the rest at night.
_IN_CI = (0, 1, BY_TIME, BY_TIME + 1)


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=pytest.mark.slow if number in _IN_CI else pytest.mark.nightly)
        for number in range(BY_TIME + IN_A_WRITE)
    ],
)
def test_a_killed_training_is_finished_as_if_nothing_had_been(runs, straight, number):
    expected, seconds = straight
    results = runs.root / f"run{number}"
    chance = random.Random(number)
    if number < BY_TIME:
        process = runs.start(results)
        process.join(chance.uniform(0, seconds))
        process.kill()
        assert runs.finish(process) in (-9, 0)
    else:
        assert runs.finish(runs.start(results, die_in_write=chance.randint(1, 4))) == -9
    assert runs.finish(runs.start(results, continues=True)) == 0

    folder = runs.folder(results)
    final, wanted = (torch.load(each / NAMES[0], weights_only=False) for each in (folder, expected))
    for checkpoint in (final, wanted):
        checkpoint["init_args"].pop("plans", None)  # with and without --c
    assert tiny_training.differences(wanted, final) == []
    assert (folder / CSV_NAME).read_text() == (expected / CSV_NAME).read_text()
    left = {file.name for file in folder.iterdir()} - {file.name for file in expected.iterdir()}
    assert all(re.fullmatch(r"training_log_.*\.txt", name) for name in left), left
    *_, last = sorted(folder.glob("training_log_*.txt"), key=lambda log: log.stat().st_mtime)
    told = re.search(r"The training continues from (\S+) with epoch (\d+)\.", last.read_text())
    epochs = re.findall(r"Epoch (\d+) ?$", last.read_text(), re.MULTILINE)
    if told and epochs:
        assert epochs[0] == told[2]
    elif epochs:
        assert epochs[0] == "0"  # killed before the first checkpoint
