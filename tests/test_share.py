from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from trainers.conftest import make_trainer

from nnunet_fess.cli.main import main
from nnunet_fess.errors import UserError
from nnunet_fess.share import find_model, share
from nnunet_fess.testing.tiny_trainer import random_batch

__all__ = ["make_trainer"]  # a fixture of the trainers' tests

TRAINER = "nnUNetTrainerSupConCWCD_lambda0p8_seed1"


@pytest.fixture
def model(make_trainer, tmp_path: Path) -> Path:
    """The folder of a model trained for a step, with the name TRAINER, in nnUNet_results."""
    trainer = make_trainer(TRAINER)
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    trainer.network.train()
    trainer.train_step(random_batch(trainer))
    base = Path(trainer.output_folder_base)
    save_json(trainer.plans_manager.plans, str(base / "plans.json"))
    save_json({**trainer.dataset_json, "dataset": {"a": {"images": ["/home/me/a.nii.gz"]}}}, str(base / "dataset.json"))
    trainer.my_init_kwargs["dataset_json"] = {**trainer.dataset_json, "dataset": {"a": {"images": ["/home/me/a.nii.gz"]}}}
    trainer.save_checkpoint(str(base / "fold_0" / "checkpoint_final.pth"))
    (base / "fold_0" / "progress.png").write_bytes(b"png")
    (base / "fold_0" / "debug.json").write_text("/home/me")
    return base


def found():
    return find_model("999", TRAINER, "nnUNetPlans", "tiny")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_copy_is_stock_and_the_original_is_untouched(model, tmp_path):
    before = snapshot(model)
    share([found()], tmp_path / "copy")
    copy = tmp_path / "copy" / "Dataset999_Tiny" / "nnUNetTrainer__nnUNetPlans__tiny"
    content = torch.load(copy / "fold_0" / "checkpoint_final.pth", weights_only=False)
    original = torch.load(model / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert content["trainer_name"] == "nnUNetTrainer"
    assert set(original) - set(content) == {"nnunet_fess"}
    assert all(torch.equal(content["network_weights"][key], value) for key, value in original["network_weights"].items())
    assert snapshot(model) == before


def test_no_path_of_the_sender_is_in_the_copy(model, tmp_path):
    share([found()], tmp_path / "copy")
    assert not [path for path, content in snapshot(tmp_path / "copy").items() if b"/home/me" in content]


def test_the_command_that_it_shows_names_the_folds_that_there_are(model, tmp_path, capsys):
    assert main(["share", "999", "-tr", TRAINER, "-c", "tiny", "-o", str(tmp_path / "model.zip")]) == 0
    assert "-tr nnUNetTrainer -f 0\n" in capsys.readouterr().out


def test_other_plans_of_the_same_trainer_are_advised(model):
    with pytest.raises(UserError, match="Did you mean -p nnUNetPlans -c tiny"):
        find_model("999", TRAINER, "nnUNetPlansCPU", "tiny")


def test_a_zip_is_laid_out_as_nnunet_results(model, tmp_path):
    assert main(["share", "999", "-tr", TRAINER, "-c", "tiny", "-o", str(tmp_path / "model.zip"), "--plans-name", "mine"]) == 0
    folder = "Dataset999_Tiny/nnUNetTrainer__mine__tiny/"
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        names = archive.namelist()
        plans = json.loads(archive.read(f"{folder}plans.json"))
    assert sorted(names) == sorted(
        folder + name for name in ("dataset.json", "fold_0/checkpoint_final.pth", "fold_0/progress.png", "plans.json")
    )
    assert plans["plans_name"] == "mine"
    assert not list(tmp_path.glob(".model.zip*"))


@pytest.mark.parametrize("name", ["model.zip", "folder"])
def test_what_is_there_is_not_written_over(model, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(UserError, match="exists"):
        share([found()], tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


def test_models_that_are_there_are_listed(model):
    with pytest.raises(UserError, match=f"There: {TRAINER}__nnUNetPlans__tiny"):
        find_model("999", "nnUNetTrainerFESS", "nnUNetPlans", "tiny")


def test_folds_that_are_there_are_listed(model, tmp_path):
    with pytest.raises(UserError, match=r"in fold 3\. Folds that have it: 0\."):
        share([found()], tmp_path / "copy", folds=["0", "3"])
    with pytest.raises(UserError, match="has no fold with checkpoint_best"):
        share([found()], tmp_path / "copy", checkpoint="checkpoint_best.pth")


def rewrite(model: Path, **changes) -> None:
    path = model / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content = {**content, **changes}
    torch.save({key: value for key, value in content.items() if value is not None}, path)


@pytest.mark.parametrize(
    ("trainer", "said"),
    [("nnUNetTrainer", "is of nnUNetTrainer already"), ("MyTrainer", "made by MyTrainer, which is not of this")],
)
def test_models_of_others_are_refused(model, tmp_path, trainer, said):
    rewrite(model, trainer_name=trainer, nnunet_fess=None)
    with pytest.raises(UserError, match=said):
        share([found()], tmp_path / "copy")


def test_a_network_that_is_not_nnunets_is_refused(model, tmp_path):
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["tiny"]["architecture"]["network_class_name"] = "nnunet_fess.networks.vnet.VNet"
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(UserError, match=r"vnet\.VNet, which stock nnU-Net does not have"):
        share([found()], tmp_path / "copy")


def test_plans_that_were_changed_after_the_training_are_told(model, tmp_path):
    plans = json.loads((model / "plans.json").read_text())
    plans["configurations"]["tiny"]["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 16]
    (model / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(UserError, match="does not fit the plans beside it"):
        share([found()], tmp_path / "copy")
    assert not [path for path in tmp_path.iterdir() if "copy" in path.name]


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_named(model, tmp_path, content):
    path = model / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(UserError, match=r"checkpoint_final\.pth cannot be read"):
        share([found()], tmp_path / "copy")


PREDICT = """
import sys
sys.modules["nnunet_fess"] = None  # any import of it fails
import numpy as np, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
predictor.initialize_from_trained_model_folder(sys.argv[1], None, "checkpoint_final.pth")
np.save(sys.argv[3], predictor.predict_logits_from_preprocessed_data(torch.from_numpy(np.load(sys.argv[2]))).numpy())
"""


@pytest.mark.slow
def test_the_installed_zip_predicts_the_same_voxels_without_this_package(model, tmp_path, monkeypatch):
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    share([found()], tmp_path / "model.zip")
    results = tmp_path / "of another person"
    results.mkdir()
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    install = ["nnUNetv2_install_pretrained_model_from_zip", str(tmp_path / "model.zip")]
    with monkeypatch.context() as other:
        other.setenv("nnUNet_results", str(results))
        subprocess.run(install, check=True, capture_output=True)
    image = np.random.default_rng(0).normal(size=(1, 20, 20, 20)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    installed = results / "Dataset999_Tiny" / "nnUNetTrainer__nnUNetPlans__tiny"
    command = [sys.executable, "-c", PREDICT, str(installed), str(tmp_path / "image.npy"), str(tmp_path / "logits.npy")]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    from nnunet_fess.extension import DIRECTORY, VARIABLE

    monkeypatch.setenv(VARIABLE, str(DIRECTORY))
    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), None, "checkpoint_final.pth")
    ours = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image)).numpy()
    assert np.array_equal(np.load(tmp_path / "logits.npy"), ours)
