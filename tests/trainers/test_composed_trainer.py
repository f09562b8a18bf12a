"""The contract with nnU-Net, which drifts from release to release: every trainer on every kind of label it supports."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_host import LABELS

from nnunet_fess.trainers import build
from nnunet_fess.trainers.catalogue import LOSSES
from nnunet_fess.trainers.errors import TrainingRefused

WITH_MEMORY = "nnUNetTrainerFESS_lambda0p5_eta1_seed1"


def steps(trainer, random_batch, count: int, start: int = 0) -> list[float]:
    trainer.network.train()
    return [float(trainer.train_step(random_batch(trainer, seed))["loss"]) for seed in range(start, start + count)]


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_trains_and_validates(make_trainer, random_batch, name, dim, labels):
    trainer = make_trainer(name, labels, dim)
    losses = steps(trainer, random_batch, 3)
    trainer.network.eval()
    with torch.no_grad():
        losses.append(float(trainer.validation_step(random_batch(trainer))["loss"]))
    assert np.isfinite(losses).all()


@pytest.mark.parametrize("name", LOSSES)
def test_residual_encoder(make_trainer, random_batch, name):
    assert np.isfinite(steps(make_trainer(name, network="ResidualEncoderUNet"), random_batch, 2)).all()


@pytest.mark.parametrize("name", LOSSES)
def test_the_network_is_stock_nnunets(make_trainer, name):
    trainer = make_trainer(name)
    stock = nnUNetTrainer.build_network_architecture(trainer.plans_manager, trainer.configuration_manager, 1, 3)
    assert list(trainer.network.state_dict()) == list(stock.state_dict())


def test_dice_ce_is_nnunets_own_loss(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerDiceCE")
    batch = random_batch(trainer)
    output = trainer.network(batch["data"])
    stock = nnUNetTrainer._build_loss(trainer)
    assert torch.equal(trainer.loss(output, batch["target"]), stock(output, batch["target"]))


def test_without_deep_supervision_the_loss_takes_one_output(make_trainer, random_batch):
    trainer = make_trainer("nnUNetTrainerCWCD_noDS")
    assert isinstance(trainer.network(random_batch(trainer)["data"]), torch.Tensor)
    assert np.isfinite(steps(trainer, random_batch, 1)).all()


def test_options_reach_nnunet(make_trainer):
    trainer = make_trainer("nnUNetTrainerDiceCE_7epochs_5iters_3valiters_noDS", initialize=False)
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == (7, 5, 3)
    assert trainer.enable_deep_supervision is False


def test_without_options_everything_is_nnunets_default(make_trainer):
    trainer = make_trainer("nnUNetTrainerFESS", initialize=False)
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == (1000, 250, 50)
    assert trainer.enable_deep_supervision is True


@pytest.mark.parametrize(("name", "axes"), [("nnUNetTrainerCWCD", (0, 1, 2)), ("nnUNetTrainerCWCD_noMirroring", None)])
def test_mirroring(make_trainer, name, axes):
    trainer = make_trainer(name)
    *_, mirror_axes = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
    assert mirror_axes == trainer.inference_allowed_mirroring_axes == axes


def test_a_seed_repeats_the_initial_weights(make_trainer):
    first, second = (make_trainer("nnUNetTrainerCWCD_seed3").network.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_another_seed_gives_other_weights(make_trainer):
    first, second = (make_trainer(f"nnUNetTrainerCWCD_seed{seed}").network.state_dict() for seed in (3, 4))
    assert not all(torch.equal(first[key], second[key]) for key in first)


def test_a_checkpoint_brings_the_memory_back(make_trainer, random_batch):
    trainer, resumed = make_trainer(WITH_MEMORY), make_trainer(WITH_MEMORY)
    steps(trainer, random_batch, 2)
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    resumed.load_checkpoint(path)
    assert steps(resumed, random_batch, 2, start=2) == steps(trainer, random_batch, 2, start=2)


def test_a_checkpoint_without_our_state_loads(make_trainer, random_batch):
    trainer = make_trainer(WITH_MEMORY)
    steps(trainer, random_batch, 2)
    path = str(Path(trainer.output_folder) / "stock.pth")
    nnUNetTrainer.save_checkpoint(trainer, path)
    resumed = make_trainer(WITH_MEMORY)
    resumed.load_checkpoint(path)
    assert np.isfinite(steps(resumed, random_batch, 2)).all()


def test_stock_nnunet_loads_our_checkpoint(make_trainer, random_batch):
    trainer = make_trainer(WITH_MEMORY)
    steps(trainer, random_batch, 2)
    path = str(Path(trainer.output_folder) / "checkpoint_final.pth")
    trainer.save_checkpoint(path)
    stock = make_trainer("nnUNetTrainerDiceCE")
    nnUNetTrainer.load_checkpoint(stock, path)
    batch = random_batch(trainer)["data"]
    assert torch.equal(stock.network.eval()(batch)[0], trainer.network.eval()(batch)[0])


def test_a_checkpoint_is_never_seen_half_written(make_trainer, random_batch, monkeypatch):
    trainer = make_trainer(WITH_MEMORY)
    steps(trainer, random_batch, 1)
    path = Path(trainer.output_folder) / "checkpoint_latest.pth"
    trainer.save_checkpoint(str(path))
    complete = path.read_bytes()

    def killed(checkpoint, file):
        Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        trainer.save_checkpoint(str(path))
    assert path.read_bytes() == complete


def test_two_lookups_give_one_class():
    assert build("nnUNetTrainerFESS_100epochs") is build("nnUNetTrainerFESS_100epochs")


def test_the_class_can_be_pickled():
    trainer = build("nnUNetTrainerFESS_100epochs")
    assert pickle.loads(pickle.dumps(trainer)) is trainer


def test_an_architecture_without_encoder_is_refused_before_training(make_trainer, monkeypatch):
    def without_encoder(plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision):
        return torch.nn.Conv3d(num_input_channels, num_output_channels, 1)

    monkeypatch.setattr(nnUNetTrainer, "build_network_architecture", staticmethod(without_encoder))
    with pytest.raises(TrainingRefused, match="Conv3d has no convolutional encoder"):
        make_trainer("nnUNetTrainerFESS")
