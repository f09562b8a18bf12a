"""nnU-Net's own commands on a tiny dataset: train by name, predict, and predict again without this package."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from commands import Host

from nnunet_fess.extension import VARIABLE

pytestmark = pytest.mark.slow
TRAINER = "nnUNetTrainerFESSCWCD_lambda0p8_1epochs_3iters_1valiters_seed1"


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Host:
    host = Host(tmp_path_factory.mktemp("host"))
    host.plan()
    host.succeed(f"nnUNetv2_train 999 3d_fullres 0 -p nnUNetPlansCPU -tr {TRAINER} -device cpu")
    return host


def test_results_lie_under_the_name_with_its_options(host):
    assert (
        host.root / "results/Dataset999_Ellipsoids" / f"{TRAINER}__nnUNetPlansCPU__3d_fullres/fold_0/validation/summary.json"
    ).is_file()


def test_renamed_to_stock_the_model_predicts_the_same_voxels_without_this_package(host):
    ours = host.predict(TRAINER, "ours")
    results = host.root / "results" / "Dataset999_Ellipsoids"
    stock = results / "nnUNetTrainer__nnUNetPlansCPU__3d_fullres"
    shutil.copytree(results / f"{TRAINER}__nnUNetPlansCPU__3d_fullres", stock)
    path = stock / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    checkpoint["trainer_name"] = "nnUNetTrainer"
    torch.save(checkpoint, path)
    assert np.array_equal(host.predict("nnUNetTrainer", "stock", **{VARIABLE: ""}), ours)


def test_a_misspelt_option_ends_nnunets_command_with_one_message(host):
    done = host.run("nnUNetv2_train 999 3d_fullres 0 -p nnUNetPlansCPU -tr nnUNetTrainerFESS_100epochs_lambda0p8 -device cpu")
    assert done.returncode == 1
    assert "Write nnUNetTrainerFESS_lambda0p8_100epochs." in done.stderr
    assert "Traceback" not in done.stderr
