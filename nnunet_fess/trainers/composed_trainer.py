"""The one trainer class: nnU-Net's, with the loss and the options that its name says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import nn

from nnunet_fess.trainers.composed_loss import ComposedLoss
from nnunet_fess.trainers.embedding_tap import EmbeddingTap
from nnunet_fess.trainers.naming import TrainerName
from nnunet_fess.trainers.seeding import RepeatableAugmenter, augmentation_in_process, seed_everything
from nnunet_fess.trainers.terms import FEATURE_TERMS, SPATIAL_TERMS, Host

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
            setattr(self, attribute, name[key] or getattr(self, attribute))
        self.enable_deep_supervision = not name["noDS"]

    @property
    def _seed(self) -> int | None:
        return self.trainer_name["seed"]  # type: ignore[return-value]

    def initialize(self) -> None:
        """Build network, optimizer and loss; with `_seedN` the initial weights are repeatable."""
        if self._seed is not None:
            seed_everything(self._seed)
        super().initialize()

    def _build_loss(self) -> nn.Module:
        loss = self._build_spatial_loss()
        feature = self.trainer_name.loss.feature
        if feature is None:
            return loss
        term = FEATURE_TERMS[feature.name](self.trainer_name).to(self.device)
        return ComposedLoss(loss, term, EmbeddingTap(self.network), weight=float(self.trainer_name["lambda"] or 0))

    def _build_spatial_loss(self) -> nn.Module:
        loss: nn.Module = super()._build_loss()
        spatial = self.trainer_name.loss.spatial.name
        if spatial not in SPATIAL_TERMS:  # DiceCE: nnU-Net's own
            return loss
        regions = self.label_manager.has_regions
        ours = SPATIAL_TERMS[spatial](
            self.trainer_name,
            Host(
                batch_dice=self.configuration_manager.batch_dice,
                ignore_label=None if regions else self.label_manager.ignore_label,
                distributed=self.is_ddp,
                spacing=self.configuration_manager.spacing,
                patch_size=self.configuration_manager.patch_size,
            ),
        )
        if not isinstance(loss, DeepSupervisionWrapper):
            return ours
        loss.loss = ours  # keeps nnU-Net's weights per scale, its DDP exception included
        return loss

    # Options

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, ...]:
        """nnU-Net's augmentation geometry, without mirroring for `_noMirroring`."""
        rotation, dummy_2d, initial_patch_size, mirror_axes = (
            super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        if self.trainer_name["noMirroring"]:
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

    def on_train_epoch_start(self) -> None:
        """Start the epoch's training part, on streams of its own when seeded."""
        super().on_train_epoch_start()
        self._reseed(self.dataloader_train, _TRAIN)

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
        """nnU-Net's checkpoint plus the state of the feature term, complete or not at all.

        nnU-Net writes on the final name, and a kill leaves a truncated file that `--c` cannot read. Here the file is written
        under another name and renamed.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            return super().save_checkpoint(filename)
        partial = f"{filename}.partial"
        super().save_checkpoint(partial)
        if isinstance(self.loss, ComposedLoss):
            # One more write instead of a copy of nnU-Net's method, which changes from release to release.
            checkpoint = torch.load(partial, map_location="cpu", weights_only=False)
            checkpoint[_STATE] = {"feature": self.loss.feature.state_dict()}
            torch.save(checkpoint, partial)
        Path(partial).replace(filename)
        return None

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Continue from a checkpoint; one without our state (stock nnU-Net's) starts the feature term afresh."""
        super().load_checkpoint(filename_or_checkpoint)
        if not isinstance(self.loss, ComposedLoss):
            return
        if isinstance(filename_or_checkpoint, str):  # mapped, so that only our few kilobytes are read a second time
            filename_or_checkpoint = torch.load(filename_or_checkpoint, self.device, weights_only=False, mmap=True)
        state = filename_or_checkpoint.get(_STATE)  # type: ignore[union-attr]
        if state is not None:
            self.loss.feature.load_state_dict(state["feature"])
