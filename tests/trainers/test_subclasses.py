"""Other people's subclasses of our trainers: nnU-Net's own hooks work in them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_fess.losses import GDLoss
from nnunet_fess.trainers import build

BASES = ["nnUNetTrainerCWCD_seed0_noDS", "nnUNetTrainerFESS_eta1_2epochs_3iters_seed0", "nnUNetTrainerSimCLR_seed0"]


def with_loss_of_its_own(base: str) -> type:
    class Mine(build(base)):
        def _build_loss(self):
            loss = GDLoss()
            return DeepSupervisionWrapper(loss, [1.0, 0.0]) if self.enable_deep_supervision else loss

    return Mine


def with_stock_loss(base: str) -> type:
    class Stock(build(base)):
        def _build_loss(self):
            return nnUNetTrainer._build_loss(self)

    return Stock


def with_a_plain_function(base: str) -> type:
    class Plain(build(base)):
        def _build_loss(self):
            return lambda output, target: (output[0] if isinstance(output, list) else output).square().mean()

    return Plain


def with_ours_wrapped(base: str) -> type:
    class Twice(nn.Module):
        def __init__(self, loss):
            super().__init__()
            self.loss = loss

        def forward(self, output, target):
            return 2 * self.loss(output, target)

    class Wrapped(build(base)):
        def _build_loss(self):
            return Twice(super()._build_loss())

    return Wrapped


HOOKED = [with_loss_of_its_own, with_stock_loss, with_a_plain_function, with_ours_wrapped]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("subclass", HOOKED)
def test_build_loss_may_be_overridden(make_trainer, random_batch, subclass, base):
    trainer = make_trainer(subclass(base))
    trainer.dataloader_train = trainer.dataloader_val = None
    trainer.on_train_epoch_start()
    losses = [trainer.train_step(random_batch(trainer, seed)) for seed in range(3)]
    assert np.isfinite([float(step["loss"]) for step in losses]).all()
    trainer.on_train_epoch_end(losses)
    trainer.network.eval()
    with torch.no_grad():
        trainer.on_validation_epoch_end([trainer.validation_step(random_batch(trainer))] * 2)
    trainer.logger.log("epoch_start_timestamps", 0.0, 0)
    trainer.logger.plot_progress_png = lambda folder: None
    trainer.on_epoch_end()
    assert (Path(trainer.output_folder) / "loss_components.csv").exists() == (subclass is with_ours_wrapped)


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("subclass", HOOKED)
def test_its_checkpoint_comes_back(make_trainer, random_batch, subclass, base):
    trainer, resumed = make_trainer(subclass(base)), make_trainer(subclass(base))
    trainer.network.train()
    trainer.train_step(random_batch(trainer))
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    resumed.load_checkpoint(path)
    for one, other in zip(trainer.network.parameters(), resumed.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_options_that_do_not_concern_the_loss_still_work(make_trainer):
    trainer = make_trainer(with_loss_of_its_own("nnUNetTrainerFESS_7epochs_5iters_3valiters_seed3_noDS_noMirroring"))
    assert (trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch) == (7, 5, 3)
    assert not trainer.enable_deep_supervision
    assert trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()[-1] is None


def test_a_wrapped_loss_keeps_its_feature_term(make_trainer, random_batch):
    trainer = make_trainer(with_ours_wrapped("nnUNetTrainerFESS_eta1_seed0"))
    trainer.network.train()
    for seed in range(2):
        trainer.train_step(random_batch(trainer, seed))
    assert trainer.loss.loss.components.close_epoch(0)["feature"] > 0


def test_an_optimizer_of_its_own(make_trainer, random_batch):
    class Adam(build("nnUNetTrainerSimCLR_seed0")):
        def configure_optimizers(self):
            optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-3)
            return optimizer, SimpleNamespace(step=lambda epoch: None)

    trainer, resumed = make_trainer(Adam), make_trainer(Adam)
    trainer.network.train()
    trainer.train_step(random_batch(trainer))
    path = str(Path(trainer.output_folder) / "checkpoint_latest.pth")
    trainer.save_checkpoint(path)
    resumed.load_checkpoint(path)
    head = next(resumed.loss.feature.parameters())
    assert resumed.optimizer.state[head]["exp_avg"].abs().sum() > 0
