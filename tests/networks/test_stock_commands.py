"""nnU-Net's own commands with each network in the plans: train, continue, validate, predict, and the zip of a model.

Every loss, with labels and regions, takes a step with each network in `tests/trainers/test_deep_supervision.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.networks.catalogue import NETWORKS

TRAINER = "nnUNetTrainerFESSDiceCE_1epochs_2iters_1valiters_seed1_noMirroring"


class Host:
    """A folder with nnU-Net's three roots and a dataset of eight ellipsoids with regions, planned and preprocessed."""

    def __init__(self, root: Path):
        self.root = root
        self.environment = {
            **os.environ,
            **{f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            VARIABLE: str(DIRECTORY),
        }
        folder = root / "raw" / "Dataset998_Ellipsoids"
        for name in ("preprocessed", "results", "raw/Dataset998_Ellipsoids/imagesTr", "raw/Dataset998_Ellipsoids/labelsTr"):
            (root / name).mkdir(parents=True)
        random = np.random.default_rng(0)
        grid = np.indices((32, 32, 32)).astype(float)
        for case in range(8):
            centre, radius = random.uniform(12, 20, (3, 1, 1, 1)), random.uniform(5, 10)
            distance = np.sqrt(((grid - centre) ** 2).sum(0))
            label = (distance < radius).astype(np.uint8) + (distance < radius / 2)
            image = nibabel.Nifti1Image((label + random.normal(0, 0.3, label.shape)).astype(np.float32), np.eye(4))
            nibabel.save(image, folder / "imagesTr" / f"case{case}_0000.nii.gz")
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"case{case}.nii.gz")
        labels = {"background": 0, "whole": [1, 2], "core": 2}
        dataset = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 8, "file_ending": ".nii.gz"}
        (folder / "dataset.json").write_text(json.dumps({**dataset, "regions_class_order": [1, 2]}))
        self.succeed("nnUNetv2_plan_and_preprocess -d 998 -c 2d 3d_fullres -np 1 -npfp 1")

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command.split(), env={**self.environment, **environment}, capture_output=True, text=True, cwd=self.root, timeout=900
        )

    def succeed(self, command: str, **environment: str) -> str:
        done = self.run(command, **environment)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Host:
    return Host(tmp_path_factory.mktemp("host"))


@pytest.mark.parametrize(
    ("network", "configuration"),
    [  # one in each CI, all at night: a network's six commands take minutes
        pytest.param(network, configuration, marks=pytest.mark.slow if first else pytest.mark.nightly)
        for network in NETWORKS
        for configuration in ("2d", "3d_fullres")
        for first in [network == next(iter(NETWORKS)) and configuration == "2d"]
    ],
)
def test_train_continue_validate_predict(host, network, configuration):
    patch = "32,32" if configuration == "2d" else "32,32,32"
    plans = f"nnUNetPlans{NETWORKS[network].label}CPU"
    host.succeed(f"nnunet_fess plans 998 --network {network} --cpu -c {configuration} --patch-size {patch} --batch-size 2")
    which = f"998 {configuration} 0 -p {plans} -device cpu -tr {TRAINER}"
    host.succeed(f"nnUNetv2_train {which}")
    fold = host.root / "results/Dataset998_Ellipsoids" / f"{TRAINER}__{plans}__{configuration}" / "fold_0"
    assert (fold / "validation" / "summary.json").is_file()
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")  # as if it had been killed before the end
    host.succeed(f"nnUNetv2_train {which} --c")
    (fold / "validation" / "summary.json").unlink()
    host.succeed(f"nnUNetv2_train {which} --val")
    assert (fold / "validation" / "summary.json").is_file()
    images = host.root / "raw" / "Dataset998_Ellipsoids" / "imagesTr"
    output = host.root / f"predicted_{network}_{configuration}"
    host.succeed(
        f"nnUNetv2_predict -i {images} -o {output} -d 998 -c {configuration} -f 0 -tr {TRAINER} -p {plans} -device cpu "
        "--disable_tta -npp 1 -nps 1"
    )
    assert len(list(output.glob("*.nii.gz"))) == 8


@pytest.mark.nightly
def test_a_zip_is_for_people_with_this_package(host):
    """nnU-Net's export and install take the model; `share`, for people without this package, refuses it."""
    host.succeed("nnunet_fess plans 998 --network deeplabv3 --cpu -c 2d --patch-size 32,32 -o zipped --batch-size 2")
    host.succeed(f"nnUNetv2_train 998 2d 0 -p zipped -device cpu -tr {TRAINER}")
    host.succeed(f"nnUNetv2_export_model_to_zip -d 998 -o model.zip -c 2d -tr {TRAINER} -p zipped -f 0")
    host.succeed("nnUNetv2_install_pretrained_model_from_zip model.zip", nnUNet_results=str(host.root / "elsewhere"))
    assert list((host.root / "elsewhere").glob("*/*/fold_0/checkpoint_final.pth"))
    refused = host.run(f"nnunet_fess share 998 -c 2d -tr {TRAINER} -p zipped")
    assert refused.returncode == 1
    assert "which stock nnU-Net does not have" in refused.stderr


@pytest.mark.nightly
def test_nnunets_own_trainer_takes_them_too(host):
    host.succeed("nnunet_fess plans 998 --network unetr --cpu -c 2d --patch-size 32,32 -o stock --batch-size 2")
    code = (
        "from nnunetv2.run.run_training import get_trainer_from_args as get; import torch;"
        "t = get('998', '2d', 0, 'nnUNetTrainer', 'stock', device=torch.device('cpu'));"
        "t.num_epochs = t.num_val_iterations_per_epoch = 1; t.num_iterations_per_epoch = 2; t.run_training()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=host.environment, capture_output=True, text=True, cwd=host.root, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
