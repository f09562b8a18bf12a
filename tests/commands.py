"""nnU-Net's own commands on a tiny dataset, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import nibabel
import numpy as np

from nnunet_fess.extension import DIRECTORY, VARIABLE


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

    def plan(self) -> None:
        self.succeed("nnUNetv2_plan_and_preprocess -d 999 -c 3d_fullres --verify_dataset_integrity -np 1 -npfp 1")
        self.succeed("nnunet_fess cpu-plans 999 --features 4,8,8 --patch-size 16,16,16")

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
