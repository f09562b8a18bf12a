"""nnU-Net's own commands with each network in the plans: train, be stopped, continue, validate, predict, and a model's zip.

Every loss, with every kind of labels, takes a step with each network in `tests/trainers/test_deep_supervision.py`.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from played_networks import begin, play

from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.networks.catalogue import NETWORKS

LOSSES, PATCHES = ("DiceCE", "CWCD", "FESSDiceCE"), {"2d": "32,32", "3d_fullres": "{smallest},32,32"}
OPTIONS = "2epochs_2iters_1valiters_saveevery1_seed1_noMirroring"


class Host:
    """A folder with nnU-Net's three roots and a dataset of five ellipsoids with regions, planned and preprocessed."""

    def __init__(self, root: Path):
        self.root = root
        self.environment = {
            **{f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_n_proc_DA": "1",
            "nnUNet_def_n_proc": "1",
            VARIABLE: str(DIRECTORY),
        }
        folder = root / "raw" / "Dataset998_Ellipsoids"
        self.images, self.results = folder / "imagesTr", root / "results" / "Dataset998_Ellipsoids"
        for path in (root / "preprocessed", root / "results", self.images, folder / "labelsTr"):
            path.mkdir(parents=True)
        random = np.random.default_rng(0)
        grid = np.indices((16, 32, 32)).astype(float)
        for case in range(5):
            centre, radius = random.uniform((7, 12, 12), (9, 20, 20))[:, None, None, None], random.uniform(5, 7)
            distance = np.sqrt(((grid - centre) ** 2).sum(0))
            label = (distance < radius).astype(np.uint8) + (distance < radius / 2)
            image = nibabel.Nifti1Image((label + random.normal(0, 0.3, label.shape)).astype(np.float32), np.eye(4))
            nibabel.save(image, folder / "imagesTr" / f"case{case}_0000.nii.gz")
            nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), folder / "labelsTr" / f"case{case}.nii.gz")
        labels = {"background": 0, "whole": [1, 2], "core": 2}
        dataset = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 5, "file_ending": ".nii.gz"}
        (folder / "dataset.json").write_text(json.dumps({**dataset, "regions_class_order": [1, 2]}))
        self.process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=begin)
        self.succeed("nnUNetv2_plan_and_preprocess -d 998 -c 2d 3d_fullres -np 1 -npfp 1")
        self.environment["nnUNet_n_proc_DA"] = "0"  # no process for augmentation; nnU-Net's planner does not take it

    def play(self, command: str, stopped_at: int | None = None) -> tuple[int, str]:
        """In a process that has imported everything; exit code and output."""
        return self.process.submit(play, command, self.environment, stopped_at).result(1800)

    def succeed(self, command: str) -> str:
        code, told = self.play(command)
        assert code == 0, f"{command}\n{told[-3000:]}"
        return told

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """In a process of its own, as a user does."""
        variables = {**os.environ, **self.environment, **environment}
        return subprocess.run(command.split(), env=variables, capture_output=True, text=True, cwd=self.root, timeout=900)

    def plan(self, network: str, configuration: str) -> str:
        """Small plans with the network; their name."""
        patch = PATCHES[configuration].format(smallest=NETWORKS[network].smallest)
        self.succeed(f"nnunet_fess plans 998 --network {network} --cpu -c {configuration} --patch-size {patch} --batch-size 2")
        return f"nnUNetPlans{NETWORKS[network].label}CPU"


@pytest.fixture(scope="module")
def host(tmp_path_factory) -> Host:
    made = Host(tmp_path_factory.mktemp("host"))
    yield made
    made.process.shutdown()


@pytest.mark.parametrize(
    ("network", "loss", "configuration"),
    [  # the first network with every loss and number of axes in CI, all of them at night
        pytest.param(*names, marks=pytest.mark.slow if names[0] == next(iter(NETWORKS)) else pytest.mark.nightly)
        for names in product(NETWORKS, LOSSES, PATCHES)
    ],
)
def test_train_continue_validate_predict(host, network, loss, configuration):
    plans, trainer = host.plan(network, configuration), f"nnUNetTrainer{loss}_{OPTIONS}"
    which = f"998 {configuration} 0 -p {plans} -device cpu -tr {trainer}"
    fold = host.results / f"{trainer}__{plans}__{configuration}" / "fold_0"
    code, told = host.play(f"nnUNetv2_train {which}", stopped_at=1)
    assert (code, (fold / "checkpoint_latest.pth").is_file()) == (130, True), told[-3000:]
    told = host.succeed(f"nnUNetv2_train {which} --c")
    assert "Epoch 1" in told and "Epoch 0" not in told
    assert (fold / "checkpoint_final.pth").is_file()
    summary = fold / "validation" / "summary.json"
    scores = json.loads(summary.read_text())["foreground_mean"]
    assert np.isfinite(scores["Dice"])
    summary.unlink()
    host.succeed(f"nnUNetv2_train {which} --val")
    assert json.loads(summary.read_text())["foreground_mean"] == scores
    output = host.root / f"predicted_{network}_{loss}_{configuration}"
    which = f"-d 998 -c {configuration} -f 0 -tr {trainer} -p {plans}"
    host.succeed(f"nnUNetv2_predict -i {host.images} -o {output} {which} -device cpu --disable_tta -npp 0 -nps 0")
    assert len(list(output.glob("*.nii.gz"))) == 5
    (validated,) = (fold / "validation").glob("*.nii.gz")  # the same network predicts the same
    same = [np.asarray(nibabel.load(path).dataobj) for path in (validated, output / validated.name)]
    assert np.array_equal(*same)


@pytest.fixture(scope="module")
def zipped(host) -> tuple[Path, str]:
    """A V-Net's zip, and what `nnUNetv2_predict` is told of it."""
    plans, trainer = host.plan("vnet", "2d"), "nnUNetTrainerDiceCE_1epochs_1iters_1valiters_noMirroring"
    host.succeed(f"nnUNetv2_train 998 2d 0 -p {plans} -device cpu -tr {trainer}")
    host.succeed(f"nnUNetv2_export_model_to_zip -d 998 -o {host.root}/model.zip -c 2d -tr {trainer} -p {plans} -f 0")
    return host.root / "model.zip", f"-d 998 -c 2d -f 0 -tr {trainer} -p {plans} -device cpu --disable_tta -npp 0 -nps 0"


@pytest.mark.nightly
def test_a_zip_is_for_people_with_this_package(host, zipped):
    """nnU-Net's commands install and use it, each in its own process; `share`, for people without this package, refuses."""
    elsewhere = {"nnUNet_results": str(host.root / "elsewhere")}
    installed = host.run(f"nnUNetv2_install_pretrained_model_from_zip {zipped[0]}", **elsewhere)
    assert installed.returncode == 0, installed.stderr[-3000:]
    predicted = host.run(f"nnUNetv2_predict -i {host.images} -o there {zipped[1]}", **elsewhere)
    assert predicted.returncode == 0, predicted.stderr[-3000:]
    assert len(list((host.root / "there").glob("*.nii.gz"))) == 5
    refused = host.run(f"nnunet_fess share 998 -c 2d {zipped[1].partition(' -device')[0].partition('-f 0 ')[2]}")
    assert refused.returncode == 1
    assert "which stock nnU-Net does not have" in refused.stderr


@pytest.mark.nightly
def test_a_missing_package_is_named_at_prediction(host, zipped):
    """Where MONAI is not installed, stock `nnUNetv2_predict` ends with what to install, and without a traceback."""
    hidden = host.root / "hidden" / "monai"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'monai'\", name='monai')")
    path = os.pathsep.join([str(hidden.parent), os.environ.get("PYTHONPATH", "")])
    refused = host.run(f"nnUNetv2_predict -i {host.images} -o nowhere {zipped[1]}", PYTHONPATH=path)
    assert refused.returncode == 1
    assert "monai is not installed" in refused.stderr and "pip install 'nnunet-fess[networks]'" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(host.root.glob("nowhere/*.nii.gz"))


@pytest.mark.nightly
def test_nnunets_own_trainer_takes_them_too(host):
    plans = host.plan("unetr", "2d")
    code = (
        "from nnunetv2.run.run_training import get_trainer_from_args as get; import torch;"
        f"t = get('998', '2d', 0, 'nnUNetTrainer', '{plans}', device=torch.device('cpu'));"
        "t.num_epochs = t.num_val_iterations_per_epoch = 1; t.num_iterations_per_epoch = 2; t.run_training()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **host.environment},
        capture_output=True,
        text=True,
        cwd=host.root,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
