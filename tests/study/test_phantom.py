"""The quick preset on the demo's phantom with nnU-Net's real commands, cut down to a few iterations."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_fess.study import presets
from nnunet_fess.study.config import load
from nnunet_fess.study.results import read_run, read_runs

pytestmark = pytest.mark.slow


def test_the_quick_preset(tmp_path):
    def command(*words):
        done = subprocess.run(
            [sys.executable, "-m", "nnunet_fess", *words], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    environment = dict(os.environ)
    command("demo", "--data-only", "--workdir", "phantom")
    environment |= {name: str(tmp_path / "phantom" / name) for name in ("nnUNet_raw", "nnUNet_preprocessed")}
    text = re.sub("^options: .*", "options: 1epochs_2iters_1valiters_noMirroring", presets.text("quick"), flags=re.MULTILINE)
    text = re.sub("^trainers: .*", "trainers: [DiceCE, FESS]", text, flags=re.MULTILINE)
    path = tmp_path / "study.yaml"
    path.write_text(text, "utf-8")
    assert "2 runs" in command("study", "check", "study.yaml")
    command("study", "run", "study.yaml")
    file = load(path)
    runs = read_runs(file.results)
    assert [(run.id, run.status) for run in runs] == [
        ("DiceCE-seed0-fold0-all", "finished"),
        ("FESS-seed0-fold0-all", "finished"),
    ]
    for run in runs:
        assert len(list(run.predictions.glob("*.nii.gz"))) == 3
        assert len(run.steps) == 2
        assert (run.model / "checkpoint_final.pth").is_file()
    # the checkpoint that a kill leaves half written: the training goes on from the last whole one
    checkpoint = runs[0].model / "checkpoint_final.pth"
    checkpoint.write_bytes(checkpoint.read_bytes()[: Path(checkpoint).stat().st_size // 2])
    command("study", "run", "study.yaml")
    again = read_run(file.results, runs[0].id)
    assert again.status == "finished"
    assert again.steps[2].command.endswith("--c")
    assert "2 of 2 runs done" in command("study", "status", "study.yaml")
