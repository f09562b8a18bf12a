"""A checkpoint of any trainer is continued by any other, stock nnU-Net's included."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

KINDS = [
    nnUNetTrainer,
    "nnUNetTrainerCWCD_noDS",
    "nnUNetTrainerFESS_eta1",
    "nnUNetTrainerSimCLR_bf16",
    "nnUNetTrainerInfoNCE",
    "nnUNetTrainerSupCon_queue6",
    "nnUNetTrainerSupCon_level2",
    "nnUNetTrainerPixelCon_queue60",
]


def epoch(trainer: Any, random_batch: Any) -> list[float]:
    """An epoch of nnU-Net's, without its loaders."""
    number = trainer.current_epoch
    trainer.dataloader_train = trainer.dataloader_val = None
    trainer.logger.plot_progress_png = lambda folder: None
    trainer.disable_checkpointing = True
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    steps = [trainer.train_step(random_batch(trainer, 10 * number + step)) for step in range(2)]
    trainer.on_train_epoch_end(steps)
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        trainer.on_validation_epoch_end([trainer.validation_step(random_batch(trainer))] * 2)
    trainer.on_epoch_end()
    trainer.disable_checkpointing = False
    return [float(step["loss"]) for step in steps]


@pytest.mark.parametrize(("first", "second"), list(combinations(KINDS, 2)), ids=str)
def test_one_continues_another_and_back(make_trainer, random_batch, first, second):
    trainer, resumed = make_trainer(first), make_trainer(second)
    epoch(trainer, random_batch)
    trainer.current_epoch -= 1  # nnU-Net saves before it counts
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    resumed.load_checkpoint(path)
    assert resumed.current_epoch == 1
    assert np.isfinite(epoch(resumed, random_batch)).all()
    back = make_trainer(first)
    resumed.current_epoch -= 1
    resumed.save_checkpoint(path)
    back.load_checkpoint(path)
    assert np.isfinite(epoch(back, random_batch)).all()
    if first is not nnUNetTrainer and second is not nnUNetTrainer:
        assert [row["epoch"] for row in back.loss.components.history] == [0, 1, 2]


def test_other_settings_of_a_term_start_it_afresh_and_say_so(make_trainer, random_batch, capsys):
    trainer, resumed = make_trainer("nnUNetTrainerSupCon"), make_trainer("nnUNetTrainerSupCon_level2")
    epoch(trainer, random_batch)
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    fresh = [parameter.clone() for parameter in resumed.loss.feature.parameters()]
    resumed.load_checkpoint(path)
    assert "no state of the feature term SupCon that fits" in capsys.readouterr().out
    assert all(torch.equal(old, new) for old, new in zip(fresh, resumed.loss.feature.parameters(), strict=True))
    assert resumed.loss.feature.memory.recall() is None


def test_a_shorter_queue_takes_the_latest(make_trainer, random_batch):
    trainer, resumed = make_trainer("nnUNetTrainerSupCon"), make_trainer("nnUNetTrainerSupCon_queue3")
    epoch(trainer, random_batch)
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    resumed.load_checkpoint(path)
    assert torch.equal(resumed.loss.feature.memory.recall()[0], trainer.loss.feature.memory.recall()[0][-3:])


def test_a_checkpoint_of_the_first_version_is_continued(make_trainer, random_batch):
    trainer, resumed = make_trainer("nnUNetTrainerSimCLR"), make_trainer("nnUNetTrainerSimCLR")
    epoch(trainer, random_batch)
    path = Path(trainer.output_folder) / "checkpoint_latest.pth"
    nnUNetTrainer.save_checkpoint(make_trainer("nnUNetTrainerDiceCE"), str(path))
    feature = trainer.loss.feature
    ours = {
        "components": {"_extra_state": {"history": [{"epoch": 0.0, "spatial": 1.0, "rejected_embeddings": 0}]}},
        "feature": {
            "name": "SimCLR",
            "state": feature.state_dict(),
            "optimizer": [trainer.optimizer.state[parameter] for parameter in feature.parameters()],
        },
    }
    torch.save(torch.load(path, weights_only=False) | {"nnunet_fess": ours}, path)
    resumed.load_checkpoint(str(path))
    assert all(torch.equal(old, new) for old, new in zip(feature.parameters(), resumed.loss.feature.parameters(), strict=True))
    assert resumed.loss.components.history == ours["components"]["_extra_state"]["history"]
    assert resumed.optimizer.state[next(resumed.loss.feature.parameters())]["momentum_buffer"].abs().sum() > 0
