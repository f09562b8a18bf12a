"""nnU-Net's own commands on a tiny dataset: train by name, predict, and predict again without this package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from nnunet_fess.extension import DIRECTORY, VARIABLE

pytestmark = pytest.mark.slow
TRAINER = "nnUNetTrainerFESSCWCD_lambda0p8_1epochs_3iters_1valiters_seed1"


class Host:
    """A folder with nnU-Net's three roots and a dataset of eight random ellipsoids."""

    def __init__(self, root: Path):
        self.root = root
        self.environment = {
            **os.environ,
            **{f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_n_proc_DA": "1",  # 0 breaks nnU-Net's planner
            "nnUNet_def_n_proc": "1",
            VARIABLE: str(DIRECTORY),
        }
        folder = root / "raw" / "Dataset999_Ellipsoids"
        for name in ("imagesTr", "labelsTr", "imagesTs"):
            (folder / name).mkdir(parents=True)
        random = np.random.default_rng(0)
        grid = np.indices((24, 24, 24)).astype(float)
        for case in range(8):
            centre, radius = random.uniform(9, 15, (3, 1, 1, 1)), random.uniform(4, 8)
            distance = np.sqrt(((grid - centre) ** 2).sum(0))
            label = (distance < radius).astype(np.uint8) + (distance < radius / 2)
            image = nibabel.Nifti1Image((label + random.normal(0, 0.3, label.shape)).astype(np.float32), np.eye(4))
            nibabel.save(image, folder / "imagesTr" / f"case{case}_0000.nii.gz")
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"case{case}.nii.gz")
        nibabel.save(image, folder / "imagesTs" / "case7_0000.nii.gz")
        dataset = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "rim": 1, "core": 2}}
        (folder / "dataset.json").write_text(json.dumps({**dataset, "numTraining": 8, "file_ending": ".nii.gz"}))
        self.images = folder / "imagesTs"

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command.split(), env={**self.environment, **environment}, capture_output=True, text=True, cwd=self.root, timeout=600
        )

    def succeed(self, command: str, **environment: str) -> None:
        done = self.run(command, **environment)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"

    def predict(self, trainer: str, output: str, **environment: str) -> np.ndarray:
        self.succeed(
            f"nnUNetv2_predict -i {self.images} -o {self.root / output} -d 999 -c 3d_fullres -f 0 -tr {trainer} "
            "-p nnUNetPlansCPU -device cpu --disable_tta -npp 1 -nps 1",
            **environment,
        )
        return np.asarray(nibabel.load(self.root / output / "case7.nii.gz").dataobj)


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Host:
    host = Host(tmp_path_factory.mktemp("host"))
    host.succeed("nnUNetv2_plan_and_preprocess -d 999 -c 3d_fullres --verify_dataset_integrity -np 1 -npfp 1")
    host.succeed("nnunet_fess cpu-plans 999 --features 4,8,8 --patch-size 16,16,16")
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
