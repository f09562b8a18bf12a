"""What we rely on in nnU-Net: when a release changes it, the test that fails here says what, before anything subtler does."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.nondet_multi_threaded_augmenter import NonDetMultiThreadedAugmenter
from nnunetv2.run import run_training
from nnunetv2.training.logging.nnunet_logger import LocalLogger, MetaLogger
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as module
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from torch import nn

from nnunet_fess.trainers.checkpoints import KEY, NAMES
from nnunet_fess.trainers.composed_trainer import _LENGTHS, ComposedTrainer

STOCK = module.nnUNetTrainer
SIGNATURES = {
    "__init__": ["self", "plans", "configuration", "fold", "dataset_json", "device"],
    "initialize": ["self"],
    "_build_loss": ["self"],
    "configure_optimizers": ["self"],
    "configure_rotation_dummyDA_mirroring_and_inital_patch_size": ["self"],
    "get_dataloaders": ["self"],
    "set_deep_supervision_enabled": ["self", "enabled"],
    "on_train_start": ["self"],
    "on_train_epoch_start": ["self"],
    "train_step": ["self", "batch"],
    "on_train_epoch_end": ["self", "train_outputs"],
    "on_validation_epoch_start": ["self"],
    "validation_step": ["self", "batch"],
    "on_validation_epoch_end": ["self", "val_outputs"],
    "on_epoch_start": ["self"],
    "on_epoch_end": ["self"],
    "on_train_end": ["self"],
    "save_checkpoint": ["self", "filename"],
    "load_checkpoint": ["self", "filename_or_checkpoint"],
    "run_training": ["self"],
    "print_to_log_file": ["self", "args", "also_print_to_console", "add_timestamp"],
}


@pytest.fixture
def stock(make_trainer):
    return make_trainer(STOCK)


def order(text: str, *expected: str) -> None:
    """That some calls stand in a source in this order."""
    places = [text.find(each) for each in expected]
    assert -1 not in places, f"gone: {[each for each, place in zip(expected, places, strict=True) if place < 0]}"
    assert places == sorted(places), f"another order than {expected}"


@pytest.mark.parametrize("hook", SIGNATURES)
def test_the_hooks_take_what_they_took(hook):
    assert list(inspect.signature(getattr(STOCK, hook)).parameters) == SIGNATURES[hook]


def test_everything_we_override_is_there():
    ours = {name for name, value in vars(ComposedTrainer).items() if callable(value) and not name.startswith("__")}
    public = {name for name in ours if not name.startswith("_")} | {"_build_loss"}
    assert [name for name in sorted(public) if not hasattr(STOCK, name)] == []


def test_the_loss_is_built_after_network_optimizer_and_ddp():
    order(
        inspect.getsource(STOCK.initialize),
        "self.build_network_architecture(",
        "torch.compile(self.network)",
        "self.configure_optimizers()",
        "DDP(self.network",
        "self._build_loss()",
        "self.was_initialized = True",
    )


def test_an_epoch_runs_its_hooks_in_this_order():
    order(
        inspect.getsource(STOCK.run_training),
        "self.on_train_start()",
        "self.on_epoch_start()",
        "self.on_train_epoch_start()",
        "self.train_step(next(self.dataloader_train))",
        "self.on_train_epoch_end(",
        "torch.no_grad()",
        "self.on_validation_epoch_start()",
        "self.validation_step(next(self.dataloader_val))",
        "self.on_validation_epoch_end(",
        "self.on_epoch_end()",
        "self.on_train_end()",
    )


def test_a_step_calls_network_and_loss_once_and_returns_the_loss(stock, random_batch):
    calls = []
    stock.network.register_forward_hook(lambda *_: calls.append("network"))
    stock.loss.register_forward_hook(lambda *_: calls.append("loss"))
    stock.network.train()
    result = stock.train_step(random_batch(stock))
    assert calls == ["network", "loss"]
    assert list(result) == ["loss"]
    assert np.isfinite(float(result["loss"]))


def test_the_optimizer_is_for_any_number_of_groups(stock):
    stock.optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
    stock.lr_scheduler.step(500)
    assert len({group["lr"] for group in stock.optimizer.param_groups}) == 1


def test_the_loss_is_a_compound_in_the_deep_supervision_wrapper(make_trainer):
    for labels, kind in (("plain", DC_and_CE_loss), ("regions", DC_and_BCE_loss)):
        loss = make_trainer(STOCK, labels).loss
        assert isinstance(loss, DeepSupervisionWrapper)
        assert isinstance(loss.loss, kind)
        assert [name for name, _ in loss.loss.named_children()] == ["ce", "dc"]
        assert (loss.loss.weight_ce, loss.loss.weight_dice) == (1, 1)
        assert loss.weight_factors[-1] == 0


def test_the_logger_takes_these_keys_and_no_others():
    assert set(LocalLogger().my_fantastic_logging) == {
        "mean_fg_dice", "ema_fg_dice", "dice_per_class_or_region", "train_losses", "val_losses", "lrs",
        "epoch_start_timestamps", "epoch_end_timestamps",
    }  # fmt: skip
    assert isinstance(MetaLogger("", False).loggers, list)


def test_a_checkpoint_has_these_keys(stock, tmp_path):
    stock.save_checkpoint(str(tmp_path / "stock.pth"))
    assert set(torch.load(tmp_path / "stock.pth", weights_only=False)) == {
        "network_weights", "optimizer_state", "grad_scaler_state", "logging", "_best_ema", "current_epoch", "init_args",
        "trainer_name", "inference_allowed_mirroring_axes",
    }  # fmt: skip


def test_a_checkpoint_of_ours_has_one_more(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "load", None)  # the way for a release that does not call torch.save would read it
    make_trainer("nnUNetTrainerSimCLR").save_checkpoint(str(tmp_path / "ours.pth"))
    monkeypatch.undo()
    assert KEY in torch.load(tmp_path / "ours.pth", weights_only=False)


def test_the_command_continues_from_these_files_in_this_order(tmp_path):
    asked = []
    trainer = SimpleNamespace(output_folder=str(tmp_path), load_checkpoint=lambda file: asked.append(Path(file).name))
    for name in reversed(NAMES):
        (tmp_path / name).touch()
        run_training.maybe_load_checkpoint(trainer, True, False)
    assert asked == list(reversed(NAMES))


def test_the_plans_tell_whether_a_training_is_continued():
    assert 'plans["continue_training"] = continue_training' in inspect.getsource(run_training.get_trainer_from_args)
    assert 'plans.pop("continue_training")' in inspect.getsource(STOCK.__init__)


def test_the_lengths_are_attributes(stock):
    assert [getattr(stock, attribute) for attribute in _LENGTHS.values()] == [1000, 250, 50, 50]


def test_the_workers_are_made_by_a_class_of_the_trainers_module():
    assert module.NonDetMultiThreadedAugmenter is NonDetMultiThreadedAugmenter
    assert "NonDetMultiThreadedAugmenter(data_loader=" in inspect.getsource(STOCK.get_dataloaders)


@pytest.mark.parametrize("augmenter", [MultiThreadedAugmenter, NonDetMultiThreadedAugmenter])
def test_the_workers_can_be_ended_and_seen(augmenter):
    made = augmenter(SimpleNamespace(), None, 1)
    assert made._processes == []
    made._finish()


def test_debug_json_has_the_trainers_attributes(stock):
    stock.something_of_ours = "told"
    stock._save_debug_information()
    assert '"something_of_ours": "told"' in (Path(stock.output_folder) / "debug.json").read_text()


def test_results_lie_in_a_folder_with_the_trainers_name(stock):
    assert Path(stock.output_folder).parts[-2:] == ("nnUNetTrainer__nnUNetPlans__tiny", "fold_0")


def test_a_trainer_is_asked_of_every_module_of_the_folders_in_the_variable(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer\n"
        "def __getattr__(name):\n"
        "    if name != 'nnUNetTrainerMadeByName': raise AttributeError(name)\n"
        "    return type(name, (nnUNetTrainer,), {})\n"
    )
    monkeypatch.setenv("nnUNet_extTrainer", str(tmp_path))
    assert recursive_find_trainer_class_by_name("nnUNetTrainerMadeByName").__name__ == "nnUNetTrainerMadeByName"
    with pytest.raises(RuntimeError, match="Could not find requested nnunet trainer"):
        recursive_find_trainer_class_by_name("nnUNetTrainerNobodyHas")


def test_the_log_names_epochs_as_we_read_them(stock):
    stock.on_train_epoch_start()
    assert re.search(r"Epoch 0 ?$", Path(stock.log_file).read_text(), re.MULTILINE)
