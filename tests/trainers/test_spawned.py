"""Data loading processes that are spawned, as under Windows and macOS: whatever is handed to them can be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny_training

TESTS = Path(__file__).resolve().parents[1]
SCRIPT = """
import multiprocessing, sys
import tiny_training

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    tiny_training.train(*sys.argv[1:], continues=False, processes="2")
"""


@pytest.mark.nightly  # every process imports torch anew
@pytest.mark.parametrize(
    "name", ["nnUNetTrainerSupConCWCD_1epochs_2iters_1valiters", "nnUNetTrainerCE_2epochs_2iters_1valiters_seed1"]
)
def test_a_training_with_spawned_workers_ends(tmp_path, name):
    tiny_training.preprocess(tmp_path / "preprocessed")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), str(tmp_path / "results"), name],
        env={"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert list((tmp_path / "results").rglob("checkpoint_final.pth"))
