"""The example package: installed, listed, trained, predicted with; and what is said when it is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import Host

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "tversky_plugin"
TRAINER = "nnUNetTrainerSupConLogTversky_fp0p4_1epochs_3iters_1valiters_seed1"
TRAIN = f"nnUNetv2_train 999 3d_fullres 0 -p nnUNetPlansCPU -tr {TRAINER} -device cpu"
PREDICT = f"nnUNetv2_predict -o out -d 999 -c 3d_fullres -f 0 -tr {TRAINER} -p nnUNetPlansCPU -device cpu -npp 1 -nps 1"


def test_it_is_short():
    files = [file for pattern in ("*.py", "*.toml") for file in EXAMPLE.rglob(pattern)]
    assert sum(len(file.read_text("utf-8").splitlines()) for file in files) < 80


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The folder into which pip has put it, in place of an environment."""
    source = shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("source") / "tversky_plugin")
    folder = tmp_path_factory.mktemp("environment")
    pip = "-m pip install --quiet --no-index --no-deps --no-build-isolation --target"
    done = subprocess.run([sys.executable, *pip.split(), str(folder), str(source)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def host(tmp_path_factory, installed) -> Host:
    host = Host(tmp_path_factory.mktemp("host"))
    host.plan()
    return host


@pytest.mark.slow
def test_its_own_tests_pass(installed):
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=EXAMPLE,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.slow
def test_it_is_listed_trained_predicted_with_and_missed(host, installed):
    here = {"PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])}
    listed = host.run("nnunet_fess trainers", **here).stdout
    assert "-log of the Tversky index  [tversky-plugin 0.1.0]" in listed

    host.succeed(TRAIN, **here)
    fold = host.root / f"results/Dataset999_Ellipsoids/{TRAINER}__nnUNetPlansCPU__3d_fullres/fold_0"
    kept = torch.load(fold / "checkpoint_final.pth", weights_only=False)["nnunet_fess"]["terms"]
    assert kept == {"LogTversky": {"distribution": "tversky-plugin", "version": "0.1.0", "module": "tversky_plugin.terms"}}
    assert "tversky-plugin 0.1.0" in next(fold.glob("training_log_*.txt")).read_text()
    ours = host.predict(TRAINER, "ours", **here)

    for command in (f"{PREDICT} -i {host.images}", f"{TRAIN} --c"):
        gone = host.run(command)
        assert gone.returncode == 1
        assert "Traceback" not in gone.stderr
        last = gone.stderr[gone.stderr.rindex("nnU-Net found no trainer") :]
        assert "the loss term LogTversky of the package tversky-plugin 0.1.0, which is not installed here" in last
        assert "pip install tversky-plugin==0.1.0" in last
        assert f"nnunet_fess share DATASET -tr {TRAINER}" in last

    # As it says: no loss is needed to predict.
    host.succeed(f"nnunet_fess share 999 -tr {TRAINER} -p nnUNetPlansCPU -o shared")
    shutil.copytree(host.root / "shared", host.root / "results", dirs_exist_ok=True)
    assert np.array_equal(host.predict("nnUNetTrainer", "stock"), ours)
