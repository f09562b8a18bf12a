"""The rest of nnU-Net's command line, and its Python predictor, with one trainer that has all three kinds of terms."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import nibabel
import numpy as np
import torch
from matrix.cells import LENGTH
from matrix.host import NUMBERS, Host

TRAINER = f"nnUNetTrainerFESSRRWCWCD{LENGTH}"
OTHER = f"nnUNetTrainerCE{LENGTH}"


class Rest:
    """The steps in their order: each takes up what the one before has left.

    Args:
        host: with the dataset.
        kind: of labels.
    """

    def __init__(self, host: Host, kind: str):
        self.host, self.kind, self.number = host, kind, NUMBERS[kind]
        self.root = host.root / "rest" / str(self.number)
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(parents=True)

    def run(self) -> Iterator[str]:
        """The name of each step that is done."""
        for name, step in STEPS.items():
            step(self)
            yield name

    def model(self, configuration: str, trainer: str = TRAINER) -> Path:
        return self.host.model(self.kind, trainer, "UNet", configuration)

    def train(self, configuration: str, fold: str, more: str = "", trainer: str = TRAINER) -> str:
        return self.host.succeed(
            f"nnUNetv2_train {self.number} {configuration} {fold} -tr {trainer} -p Tiny -device cpu {more}"
        )

    def predict(self, configuration: str, fold: str, output: str, more: str = "", **environment: str) -> np.ndarray:
        images = self.host.raw(self.kind) / "imagesTs"
        self.host.succeed(
            f"nnUNetv2_predict -i {images} -o {self.root / output} -d {self.number} -c {configuration} -f {fold} -tr {TRAINER} "
            f"-p Tiny -device cpu -npp 0 -nps 0 {more}",
            **environment,
        )
        return voxels(self.root / output / "test.nii.gz")

    # Steps

    def npz(self) -> None:
        for configuration in ("2d", "3d_fullres"):
            self.train(configuration, "0", "--npz")
            assert list((self.model(configuration) / "fold_0" / "validation").glob("*.npz"))

    def val_best(self) -> None:
        validation = self.model("3d_fullres") / "fold_0" / "validation"
        shutil.rmtree(validation)
        self.train("3d_fullres", "0", "--val --val_best --npz")
        assert (validation / "summary.json").is_file()
        assert list(validation.glob("*.npz"))

    def all_cases(self) -> None:
        self.train("3d_fullres", "all")
        self.predict("3d_fullres", "all", "by_all")

    def pretrained(self) -> None:
        weights = self.model("3d_fullres") / "fold_0" / "checkpoint_final.pth"
        said = self.train("3d_fullres", "1", f"-pretrained_weights {weights}", OTHER)
        assert "Loading pretrained weights" in said, said[-3000:]
        self.train("3d_fullres", "2", f"-pretrained_weights {self.model('3d_fullres', OTHER)}/fold_1/checkpoint_final.pth")

    def best_configuration(self) -> None:
        self.host.succeed(f"nnUNetv2_find_best_configuration {self.number} -p Tiny -c 2d 3d_fullres -tr {TRAINER} -f 0 -np 1")
        folder = self.host.root / "results" / self.host.name(self.kind)
        assert TRAINER in (folder / "inference_instructions.txt").read_text()
        assert list((folder / "ensembles").iterdir())

    def ensemble(self) -> None:
        folders = []
        for configuration in ("2d", "3d_fullres"):
            self.predict(configuration, "0", configuration, "--save_probabilities")
            folders.append(str(self.root / configuration))
        self.host.succeed(f"nnUNetv2_ensemble -i {' '.join(folders)} -o {self.root / 'ensemble'} -np 1")
        assert voxels(self.root / "ensemble" / "test.nii.gz").shape == voxels(self.root / "2d" / "test.nii.gz").shape

    def zipped(self) -> None:
        archive, elsewhere = self.root / "model.zip", str(self.root / "elsewhere")
        self.host.succeed(
            f"nnUNetv2_export_model_to_zip -d {self.number} -o {archive} -c 3d_fullres -tr {TRAINER} -p Tiny -f 0"
        )
        self.host.succeed(f"nnUNetv2_install_pretrained_model_from_zip {archive}", nnUNet_results=elsewhere)
        installed = self.predict("3d_fullres", "0", "installed", nnUNet_results=elsewhere)
        assert np.array_equal(installed, voxels(self.root / "3d_fullres" / "test.nii.gz"))

    def python(self) -> None:
        from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
        with mock.patch.dict(os.environ, self.host.environment):
            predictor.initialize_from_trained_model_folder(str(self.model("3d_fullres")), (0,), "checkpoint_final.pth")
            image, properties = SimpleITKIO().read_images([str(self.host.raw(self.kind) / "imagesTs" / "test_0000.nii.gz")])
            found = predictor.predict_single_npy_array(image, properties, None, None, False)
        assert np.array_equal(found.T, voxels(self.root / "3d_fullres" / "test.nii.gz"))


STEPS: dict[str, Callable[[Rest], Any]] = {
    "train with --npz": Rest.npz,
    "--val --val_best --npz": Rest.val_best,
    "-f all, and prediction by it": Rest.all_cases,
    "-pretrained_weights, from ours and from another of ours": Rest.pretrained,
    "nnUNetv2_find_best_configuration, with its ensemble": Rest.best_configuration,
    "nnUNetv2_predict --save_probabilities and nnUNetv2_ensemble": Rest.ensemble,
    "export and install of a zip, prediction from it": Rest.zipped,
    "nnUNetPredictor in Python": Rest.python,
}


def voxels(file: Path) -> np.ndarray:
    return np.asarray(nibabel.load(file).dataobj)
