"""A model made by version 346dbbb is found, continued and predicted.

Its files, by that version's own code: `make_trainer` of its tests in 2-D, the trainer below, two steps on random batches, the
end of the epoch, `save_checkpoint`; and the network's output for an image of `numpy.random.default_rng(0)`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from batchgenerators.utilities.file_and_folder_operations import save_json
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.trainers import build

MADE = Path(__file__).with_name("made_by_0.1.0")
NAME = "nnUNetTrainerSupConCWCD_lambda0p9_2mm_queue6_3epochs_seed5"


@pytest.fixture(scope="module")
def checkpoint() -> dict:
    return torch.load(MADE / "checkpoint_latest.pth", weights_only=False)


def test_it_is_found(checkpoint, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(DIRECTORY))
    assert checkpoint["trainer_name"] == NAME
    assert recursive_find_trainer_class_by_name(NAME) is build(NAME)


def test_it_is_continued(make_trainer, random_batch, checkpoint):
    trainer = make_trainer(NAME, dim=2)
    trainer.load_checkpoint(str(MADE / "checkpoint_latest.pth"))
    assert trainer.current_epoch == 1
    assert trainer.loss.components.history == checkpoint["nnunet_fess"]["components"]["_extra_state"]["history"]
    kept, state = checkpoint["nnunet_fess"]["feature"]["state"], trainer.loss.feature.state_dict()
    assert kept.keys() == state.keys()
    assert torch.equal(
        kept["memory._extra_state"]["content"]["embeddings"], state["memory._extra_state"]["content"]["embeddings"]
    )
    assert all(torch.equal(kept[key], state[key]) for key in kept if torch.is_tensor(kept[key]))
    trainer.network.train()
    assert np.isfinite([float(trainer.train_step(random_batch(trainer, seed))["loss"]) for seed in range(2)]).all()


def test_it_is_predicted(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(DIRECTORY))
    (tmp_path / "fold_0").mkdir()
    shutil.copy(MADE / "checkpoint_latest.pth", tmp_path / "fold_0")
    save_json(checkpoint["init_args"]["plans"], str(tmp_path / "plans.json"))
    save_json(checkpoint["init_args"]["dataset_json"], str(tmp_path / "dataset.json"))
    predictor = nnUNetPredictor(
        device=torch.device("cpu"),
        perform_everything_on_device=False,
        allow_tqdm=False,
        use_mirroring=False,
        use_gaussian=False,
    )
    predictor.initialize_from_trained_model_folder(str(tmp_path), (0,), "checkpoint_latest.pth")
    image = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype(np.float32)
    logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(image)).numpy()
    assert np.allclose(logits[:, 0], np.load(MADE / "logits.npy"), atol=2e-3)  # kept in half precision
