"""A model of ours, renamed to nnU-Net's trainer, predicts the same voxels where this package is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

from nnunet_fess.trainers.catalogue import FEATURE

PREDICT = """
import sys
sys.modules["nnunet_fess"] = None  # any import of it fails
import numpy as np, torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
folder, image, out = sys.argv[1:]
predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
predictor.initialize_from_trained_model_folder(folder, (0,), "checkpoint_final.pth")
logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(np.load(image)))
np.save(out, logits.numpy())
"""


@pytest.mark.slow
@pytest.mark.parametrize("feature", FEATURE)
def test_the_same_voxels_without_this_package(make_trainer, random_batch, tmp_path: Path, feature):
    trainer = make_trainer(f"nnUNetTrainer{feature}_seed0")
    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    trainer.network.train()
    for seed in range(2):
        trainer.train_step(random_batch(trainer, seed))
    base = Path(trainer.output_folder_base)
    save_json(trainer.plans_manager.plans, str(base / "plans.json"))
    save_json(trainer.dataset_json, str(base / "dataset.json"))
    path = Path(trainer.output_folder) / "checkpoint_final.pth"
    trainer.save_checkpoint(str(path))
    checkpoint = torch.load(path, weights_only=False)
    torch.save(checkpoint | {"trainer_name": "nnUNetTrainer"}, path)

    image = np.random.default_rng(0).normal(size=(1, 20, 20, 20)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)
    environment = {key: value for key, value in os.environ.items() if key != "nnUNet_extTrainer"}
    command = [sys.executable, "-c", PREDICT, str(base), str(tmp_path / "image.npy"), str(tmp_path / "logits.npy")]
    subprocess.run(command, env=environment | {"OMP_NUM_THREADS": "1"}, check=True, capture_output=True)

    predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
    trainer.set_deep_supervision_enabled(False)
    trainer.network.eval()
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    ours = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image)).numpy()
    stock = np.load(tmp_path / "logits.npy")
    assert np.array_equal(stock.argmax(0), ours.argmax(0))
    assert np.allclose(stock, ours, atol=1e-4)
