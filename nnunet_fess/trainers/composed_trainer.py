"""The one trainer class: nnU-Net's, with the loss and the options that its name says."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import nn

from nnunet_fess.plugin import FeatureHost, Host
from nnunet_fess.trainers.components import Components
from nnunet_fess.trainers.composed_loss import ComposedLoss
from nnunet_fess.trainers.deep_supervision import has_deep_supervision, has_switch
from nnunet_fess.trainers.embedding_tap import EmbeddingTap, unwrapped
from nnunet_fess.trainers.errors import TrainingRefused
from nnunet_fess.trainers.features import FeatureTerm
from nnunet_fess.trainers.missing import TERMS
from nnunet_fess.trainers.mixed_precision import train_in_bfloat16
from nnunet_fess.trainers.naming import TrainerName
from nnunet_fess.trainers.registry import registry
from nnunet_fess.trainers.seeding import RepeatableAugmenter, augmentation_in_process, seed_everything
from nnunet_fess.trainers.terms import feature_loss, spatial_loss

# The key of our own state in a checkpoint. nnU-Net ignores keys it does not know.
_STATE = "nnunet_fess"
_TRAIN, _VALIDATE = 1, 2
# Options that replace a number of nnU-Net's.
_LENGTHS = {"epochs": "num_epochs", "iters": "num_iterations_per_epoch", "valiters": "num_val_iterations_per_epoch"}


class ComposedTrainer(nnUNetTrainer):
    """`nnUNetTrainer` with another loss. Subclasses, made by `nnunet_fess.trainers.build`, only set `trainer_name`.

    The network is nnU-Net's to the last key of its state dict: after renaming the trainer in a checkpoint, stock
    `nnUNetTrainer` predicts the same voxels.
    """

    trainer_name: ClassVar[TrainerName]

    # nnU-Net records these arguments by name and reads them back from checkpoints: no *args here.
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        name = self.trainer_name
        for key, attribute in _LENGTHS.items():
            setattr(self, attribute, name.settings[key] or getattr(self, attribute))
        self.enable_deep_supervision = not name.settings.switch("noDS")
        self._first_step = False  # of an epoch
        self._gradient_share = 0.0

    @property
    def _seed(self) -> int | None:
        settings = self.trainer_name.settings
        return settings.whole("seed") if settings.has("seed") else None

    @property
    def _ignore_label(self) -> int | None:
        """Of label maps; regions bring a mask as last channel instead."""
        return None if self.label_manager.has_regions else self.label_manager.ignore_label

    def initialize(self) -> None:
        """Build network, optimizer and loss; with `_seedN` the initial weights are repeatable."""
        if self._seed is not None:
            seed_everything(self._seed)
        super().initialize()
        if self.trainer_name.settings.switch("bf16") and self.device.type == "cpu":
            train_in_bfloat16(unwrapped(self.network))

    def _build_loss(self) -> nn.Module:
        if self.enable_deep_supervision and not has_deep_supervision(unwrapped(self.network)):
            self.enable_deep_supervision = False
            self.set_deep_supervision_enabled(False)
            self.print_to_log_file(
                f"{type(unwrapped(self.network)).__name__} trains without deep supervision: it has one output."
            )
        stock: nn.Module = super()._build_loss()
        host = self._host(stock.loss if isinstance(stock, DeepSupervisionWrapper) else stock)
        spatial = spatial_loss(self.trainer_name, host)
        if isinstance(stock, DeepSupervisionWrapper):
            stock.loss = spatial  # keeps nnU-Net's weights per scale, its DDP exception included
            spatial = stock
        if self.trainer_name.loss.feature is None:
            return ComposedLoss(spatial)
        tap = EmbeddingTap(self.network)
        feature_host = FeatureHost(
            **vars(host),
            stages=tap.channels,
            image_channels=len(self.dataset_json["channel_names"]),
            learning_rate=lambda: self.optimizer.param_groups[0]["lr"],
        )
        term = feature_loss(self.trainer_name, feature_host).to(self.device)
        self._adopt(list(term.parameters()))
        return ComposedLoss(spatial, term, tap, weight=self.trainer_name.settings.number("lambda"))

    def _host(self, own_loss: nn.Module) -> Host:
        """What a loss may know of nnU-Net."""
        return Host(
            spacing=self.configuration_manager.spacing,
            patch_size=self.configuration_manager.patch_size,
            classes=_class_names(self.label_manager),
            has_regions=self.label_manager.has_regions,
            ignore_label=self._ignore_label,
            batch_dice=self.configuration_manager.batch_dice,
            distributed=self.is_ddp,
            epochs=self.num_epochs,
            epoch=lambda: self.current_epoch,
            own_loss=lambda: own_loss,
        )

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """nnU-Net's switch, for networks that have it."""
        if has_switch(unwrapped(self.network)):
            super().set_deep_supervision_enabled(enabled)

    def _adopt(self, parameters: list[nn.Parameter]) -> None:
        """Have the parameters of a feature term optimised, from the same values on every rank.

        nnU-Net builds the loss after the optimizer and after DDP. DDP is not needed here: every rank computes the feature term
        of the whole batch, hence the same gradient.
        """
        if not parameters:
            return
        if self.is_ddp:
            for parameter in parameters:
                dist.broadcast(parameter.data, src=0)
        self.optimizer.add_param_group({"params": parameters})

    # Options

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
        """nnU-Net's augmentation geometry, without mirroring for `_noMirroring`."""
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if self.trainer_name.settings.switch("noMirroring"):
            mirror_axes = self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch_size, mirror_axes

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's loaders; with `_seedN` their workers are repeatable."""
        workers = get_allowed_n_proc_DA()
        if self._seed is None or workers == 0:
            return super().get_dataloaders()
        with augmentation_in_process():
            loaders = super().get_dataloaders()
        pin = self.device.type == "cuda"
        train, val = (
            RepeatableAugmenter(loader.data_loader, count, pin)
            for loader, count in zip(loaders, (workers, max(1, workers // 2)), strict=True)
        )
        return train, val

    def on_train_start(self) -> None:
        """nnU-Net's preparations.

        Raises:
            TrainingRefused: `_bf16` on another device than a CPU.
        """
        if self.trainer_name.settings.switch("bf16") and self.device.type != "cpu":
            raise TrainingRefused(
                f"_bf16 is for trainings with -device cpu. Found: {self.device.type}, where the precision is nnU-Net's (mixed "
                "on a GPU). Leave _bf16 out of the trainer's name."
            )
        super().on_train_start()
        for term, origin in registry().provenance(self.trainer_name.loss).items():
            self.print_to_log_file(f"The loss term {term} is that of {origin['distribution']} {origin['version']}.")
        for remark in self.trainer_name.remarks:
            self.print_to_log_file(f"WARNING: {remark}")

    def on_train_epoch_start(self) -> None:
        """Start the epoch's training part, on streams of its own when seeded."""
        super().on_train_epoch_start()
        self._reseed(self.dataloader_train, _TRAIN)
        self._first_step = True

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step; before the first of an epoch, a look at how much of the gradient is the feature term's."""
        if self._first_step and self.loss.feature is not None:
            self._gradient_share = self._look_at_gradient_share(batch)
        self._first_step = False
        return super().train_step(batch)

    def _look_at_gradient_share(self, batch: dict[str, Any]) -> float:
        image, target = batch["data"].to(self.device), batch["target"]
        target = [scale.to(self.device) for scale in target] if isinstance(target, list) else target.to(self.device)
        with torch.autocast(self.device.type) if self.device.type == "cuda" else nullcontext():
            return self.loss.feature_gradient_share(unwrapped(self.network)(image), target)

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Close the epoch's row of loss components."""
        super().on_train_epoch_end(train_outputs)
        feature: FeatureTerm | None = self.loss.feature
        if feature is None:
            self.loss.components.close_epoch(self.current_epoch)
            return
        rejected = 0 if feature.memory is None else feature.memory.rejected
        before = next((row["rejected_embeddings"] for row in reversed(self.loss.components.history)), 0)
        if rejected > before:
            self.print_to_log_file(
                f"{rejected - before:.0f} embeddings of this epoch were not finite and are not remembered by the feature term. "
                "A few are normal with mixed precision; if they go on, the training diverges."
            )
        self.loss.components.close_epoch(
            self.current_epoch, feature_gradient_share=self._gradient_share, rejected_embeddings=rejected
        )

    def on_epoch_end(self) -> None:
        """Write the loss components beside nnU-Net's progress.png, and to wandb when nnU-Net's is on."""
        epoch = self.current_epoch
        super().on_epoch_end()
        components: Components = self.loss.components
        if self.local_rank == 0:
            components.write(Path(self.output_folder))
        for logger in self.logger.loggers:
            for name, value in components.history[-1].items():
                if name != "epoch":
                    logger.log(f"loss_components/{name}", value, epoch)

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's validation part, on streams of its own when seeded."""
        super().on_validation_epoch_start()
        self._reseed(self.dataloader_val, _VALIDATE)

    def _reseed(self, loader: SingleThreadedAugmenter | RepeatableAugmenter, phase: int) -> None:
        if self._seed is None:
            return
        entropy = (self._seed, self.current_epoch, phase, self.local_rank)
        seed_everything(*entropy)
        if isinstance(loader, RepeatableAugmenter):
            loader.reseed(*entropy)

    # Checkpoints

    def save_checkpoint(self, filename: str) -> None:
        """nnU-Net's checkpoint plus our state under a key of its own, complete or not at all.

        nnU-Net writes on the final name, and a kill leaves a truncated file that `--c` cannot read. Here the file is written
        under another name and renamed.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            return super().save_checkpoint(filename)
        partial = f"{filename}.partial"
        with self._stock_optimizer() as adopted:
            super().save_checkpoint(partial)
        # One more write instead of a copy of nnU-Net's method, which changes from release to release.
        checkpoint = torch.load(partial, map_location="cpu", weights_only=False)
        checkpoint[_STATE] = {"components": self.loss.components.state_dict()}
        checkpoint[_STATE][TERMS] = registry().provenance(self.trainer_name.loss)
        if self.loss.feature is not None:
            feature = {"name": self._feature_name, "state": self.loss.feature.state_dict(), "optimizer": adopted}
            checkpoint[_STATE]["feature"] = feature
        torch.save(checkpoint, partial)
        Path(partial).replace(filename)
        return None

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Continue from a checkpoint; one without our state (stock nnU-Net's) starts the feature term afresh.

        Raises:
            TrainingRefused: the file is truncated or damaged.
        """
        if not self.was_initialized:
            self.initialize()
        if isinstance(filename_or_checkpoint, str):
            state = _our_state(filename_or_checkpoint, self.device)
        else:
            state = filename_or_checkpoint.get(_STATE, {})
        with self._stock_optimizer():
            super().load_checkpoint(filename_or_checkpoint)
        if "components" in state:
            self.loss.components.load_state_dict(state["components"])
        if self.loss.feature is None:
            return
        feature = state.get("feature", {})
        if feature.get("name") != self._feature_name:
            self.print_to_log_file(
                f"The checkpoint holds no state of the feature term {self._feature_name}, whose memory and projection head "
                "start afresh."
            )
            return
        self.loss.feature.load_state_dict(feature["state"])
        for parameter, kept in zip(self.loss.feature.parameters(), feature["optimizer"], strict=True):
            self.optimizer.state[parameter] = kept

    @property
    def _feature_name(self) -> str | None:
        feature = self.trainer_name.loss.feature
        return None if feature is None else feature.name

    @contextmanager
    def _stock_optimizer(self) -> Iterator[list[dict[str, Any]]]:
        """The optimizer without what `_adopt` added, whose state is yielded: nnU-Net's part of a checkpoint stays stock."""
        adopted = [] if self.loss.feature is None else list(self.loss.feature.parameters())
        group = self.optimizer.param_groups.pop() if adopted else None
        states = [self.optimizer.state.pop(parameter, {}) for parameter in adopted]
        try:
            yield states
        finally:
            if group is not None:
                self.optimizer.param_groups.append(group)
            self.optimizer.state.update(zip(adopted, states, strict=True))


def _class_names(manager: LabelManager) -> list[str]:
    """What the channels of the network's output are called."""
    labels = {name: np.max(label) for name, label in manager.label_dict.items() if name != "ignore"}
    if manager.has_regions:
        return [name for name, highest in labels.items() if highest > 0]  # nnU-Net has no channel for the background
    return sorted(labels, key=labels.__getitem__)


def _our_state(filename: str, device: torch.device) -> dict[str, Any]:
    """What we put into a checkpoint; empty for nnU-Net's own."""
    try:
        # Mapped, so that what nnU-Net reads again is not held twice; copied, since the next save replaces the file.
        checkpoint = torch.load(filename, device, weights_only=False, mmap=True)
        state: dict[str, Any] = copy.deepcopy(checkpoint.get(_STATE, {}))
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise TrainingRefused(
            f"{filename} cannot be read: {str(error).splitlines()[0]} Expected a complete checkpoint; a kill while nnU-Net "
            "wrote it leaves a truncated one. Delete or move the file and run the same command again: --c then continues from "
            "the next one that is there (checkpoint_final.pth, checkpoint_latest.pth, checkpoint_best.pth)."
        ) from error
    return state
