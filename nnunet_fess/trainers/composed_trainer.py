"""The one trainer class: nnU-Net's, with the loss and the options that its name says."""

from __future__ import annotations

import copy
import json
import os
import re
import time
import weakref
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
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from torch import nn

from nnunet_fess.plugin import FeatureHost, Host
from nnunet_fess.processes import stopping
from nnunet_fess.trainers import checkpoints
from nnunet_fess.trainers.averaging import WeightAverage
from nnunet_fess.trainers.checkpoints import Checkpoint
from nnunet_fess.trainers.components import FEATURE, REJECTED, SHARE, SPATIAL, last_epoch
from nnunet_fess.trainers.composed_loss import ComposedLoss
from nnunet_fess.trainers.cutmix import CutMix
from nnunet_fess.trainers.deep_supervision import has_deep_supervision, has_switch
from nnunet_fess.trainers.description import describe
from nnunet_fess.trainers.embedding_tap import EmbeddingTap, unwrapped
from nnunet_fess.trainers.errors import NotSupported, TrainingRefused
from nnunet_fess.trainers.features import FeatureLoss
from nnunet_fess.trainers.missing import TERMS
from nnunet_fess.trainers.mixed_precision import train_in_bfloat16
from nnunet_fess.trainers.naming import TrainerName
from nnunet_fess.trainers.not_finite import NotFinite
from nnunet_fess.trainers.registry import registry
from nnunet_fess.trainers.seeding import RepeatableAugmenter, seed_everything, seed_of
from nnunet_fess.trainers.terms import feature_loss, spatial_loss
from nnunet_fess.trainers.workers import TellingAugmenter, workers_made_by

_TRAIN, _VALIDATE, _MIX = 1, 2, 3
_PATIENCE = 10.0  # seconds for another process to finish a small file
# Options that replace a number of nnU-Net's.
_LENGTHS = {
    "epochs": "num_epochs",
    "iters": "num_iterations_per_epoch",
    "valiters": "num_val_iterations_per_epoch",
    "saveevery": "save_every",
}


class ComposedTrainer(nnUNetTrainer):
    """`nnUNetTrainer` with another loss. Subclasses, made by `nnunet_fess.trainers.build`, only set `trainer_name`.

    The network is nnU-Net's to the last key of its state dict: after renaming the trainer in a checkpoint, stock
    `nnUNetTrainer` predicts the same voxels.
    """

    trainer_name: ClassVar[TrainerName]
    save_every: int

    # nnU-Net records these arguments by name and reads them back from checkpoints: no *args here.
    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008
    ):
        self._to_be_continued = bool(plans.get("continue_training"))  # --c, until the training runs
        super().__init__(plans, configuration, fold, dataset_json, device)
        name = self.trainer_name
        for key, attribute in _LENGTHS.items():
            setattr(self, attribute, name.settings[key] or getattr(self, attribute))
        self.enable_deep_supervision = not name.settings.switch("noDS")
        self._first_step = False  # of an epoch
        self._gradient_share = 0.0
        self._said_no_feature = False
        self._not_finite = NotFinite()
        self._cutmix = CutMix(name.settings.number("cutmix")) if name.settings.has("cutmix") else None
        self._average: WeightAverage | None = None

    @property
    def _in_use(self) -> dict[str, Any]:
        """The settings that the trainer's name left to nnU-Net."""
        return {key: getattr(self, attribute) for key, attribute in _LENGTHS.items()}

    @property
    def _seed(self) -> int | None:
        settings = self.trainer_name.settings
        return settings.whole("seed") if settings.has("seed") else None

    @property
    def _composed(self) -> ComposedLoss | None:
        """Our loss; None where a subclass overrides `_build_loss` and does without it."""
        modules = self.loss.modules() if isinstance(self.loss, nn.Module) else ()
        return next((module for module in modules if isinstance(module, ComposedLoss)), None)

    @property
    def _feature(self) -> FeatureLoss | None:
        return None if self._composed is None else self._composed.feature

    @property
    def _image_channels(self) -> int:
        """Input channels that are images; a cascade has those of the previous stage's labels besides."""
        labels = len(self.label_manager.foreground_labels) if self.is_cascaded else 0
        return int(self.num_input_channels) - labels

    @property
    def _ignore_label(self) -> int | None:
        """Of label maps; regions bring a mask as last channel instead."""
        return None if self.label_manager.has_regions else self.label_manager.ignore_label

    def initialize(self) -> None:
        """Build network, optimizer and loss; with `_seedN` the initial weights are repeatable."""
        if self._seed is not None:
            seed_everything(self._seed)
        super().initialize()
        if self.trainer_name.settings.has("ema"):
            self._average = WeightAverage(self.network, self.trainer_name.settings.number("ema"))
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
        trainer = weakref.proxy(self)  # the loss is the trainer's: no circle
        feature_host = FeatureHost(
            **vars(host),
            stages=tap.channels,
            image_channels=self._image_channels,
            learning_rate=lambda: trainer.optimizer.param_groups[0]["lr"],
            decoder_channels=tap.decoder_channels,
        )
        term = feature_loss(self.trainer_name, feature_host).to(self.device)
        self._adopt(list(term.parameters()))
        return ComposedLoss(spatial, term, tap, weight=self.trainer_name.settings.number("lambda"))

    def _host(self, own_loss: nn.Module) -> Host:
        """What a loss may know of nnU-Net."""
        trainer = weakref.proxy(self)
        return Host(
            spacing=self.configuration_manager.spacing,
            patch_size=self.configuration_manager.patch_size,
            classes=_class_names(self.label_manager),
            has_regions=self.label_manager.has_regions,
            ignore_label=self._ignore_label,
            batch_dice=self.configuration_manager.batch_dice,
            distributed=self.is_ddp,
            epochs=self.num_epochs,
            epoch=lambda: trainer.current_epoch,
            own_loss=lambda: trainer._can_be_gathered(own_loss),
        )

    def _can_be_gathered(self, own_loss: nn.Module) -> nn.Module:
        """nnU-Net's own loss, unless its ranks would wait for each other: it gathers every patch's Dice sums as they are.

        Raises:
            NotSupported: unequal batches on several GPUs, with batch dice.
        """
        batch, ranks = self.configuration_manager.batch_size, dist.get_world_size() if self.is_ddp else 1
        if self.configuration_manager.batch_dice and batch % ranks:
            raise NotSupported(
                "nnU-Net's own loss (DiceCE) with batch dice gathers the sums of every patch from all GPUs, and cannot where "
                f"they have different numbers of patches. Found: a batch of {batch} on {ranks} GPUs. Take a batch that the "
                "GPUs divide evenly (nnunet_fess plans --batch-size), another number of GPUs, or a region term of this "
                "package, such as CWCD."
            )
        return own_loss

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

    def do_split(self) -> tuple[Any, Any]:
        """nnU-Net's split; while another training writes splits_final.json, which nnU-Net does in place, this one waits.

        Raises:
            TrainingRefused: the file is no JSON, and stays so.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                splits: tuple[Any, Any] = super().do_split()
                return splits
            except json.JSONDecodeError as error:
                if time.monotonic() > deadline:
                    file = Path(self.preprocessed_dataset_folder_base) / "splits_final.json"
                    raise TrainingRefused(
                        f"{file} is no JSON: {error}. Expected a list of folds. Delete it if a training was killed while it "
                        "wrote it: nnU-Net then makes the same folds again."
                    ) from error
                time.sleep(0.1)

    def get_dataloaders(self) -> tuple[Any, Any]:
        """nnU-Net's loaders; their workers tell what went wrong in them, and with `_seedN` they are repeatable."""
        with workers_made_by(TellingAugmenter if self._seed is None else RepeatableAugmenter):
            loaders: tuple[Any, Any] = super().get_dataloaders()
        return loaders

    def on_train_start(self) -> None:
        """nnU-Net's preparations.

        Raises:
            NotSupported: `_bf16` on another device than a CPU.
        """
        if self.trainer_name.settings.switch("bf16") and self.device.type != "cpu":
            raise NotSupported(
                f"_bf16 is for trainings with -device cpu. Found: {self.device.type}, where the precision is nnU-Net's (mixed "
                "on a GPU). Leave _bf16 out of the trainer's name."
            )
        self._to_be_continued = False
        if not self.was_initialized:
            self.initialize()
        # An attribute, hence in debug.json.
        self.description = describe(self.trainer_name, self._in_use, built=self._composed is not None)
        self.logger.update_config({"nnunet_fess": dict(self.description)})
        super().on_train_start()
        for line in self.description.lines():
            self.print_to_log_file(line)
        for remark in self.trainer_name.remarks:
            self.print_to_log_file(f"WARNING: {remark}")
        if self.local_rank == 0:
            checkpoints.tidy(Path(self.output_folder))
        if self._cutmix is not None and self.batch_size < 2:
            self.print_to_log_file("WARNING: _cutmix does nothing: it mixes the patches of a batch, and a batch has one here.")
        feature, batch = self._feature, self.configuration_manager.batch_size
        if feature is not None and batch < feature.smallest_batch:
            self._say_no_feature(f"A batch has {batch} patch(es), and the term needs {feature.smallest_batch} or more")

    def on_train_epoch_start(self) -> None:
        """Start the epoch's training part, on streams of its own when seeded."""
        super().on_train_epoch_start()
        self._reseed(self.dataloader_train, _TRAIN)
        if self._cutmix is not None and self._seed is not None:
            self._cutmix.reseed(seed_of(self._seed, self.current_epoch, _MIX, self.local_rank))
        self._first_step = True

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step; before the first of an epoch, a look at how much of the gradient is the feature term's."""
        composed, cases = self._composed, batch.get("keys")
        if self._cutmix is not None:
            given = self._on_device(batch)
            batch = self._cutmix(given)
            cases = cases if batch is given else None  # mixed patches are of two cases each
        if composed is not None:
            composed.cases = cases
        if self._average is not None:
            self._average.train()
        if self._first_step and self._feature is not None:
            self._gradient_share = self._look_at_gradient_share(batch)
        self._first_step = False
        result: dict[str, Any] = super().train_step(batch)
        if self._average is not None:
            self._average.update()
        terms = {} if composed is None else composed.components.latest
        self._say(self._not_finite.step(float(result["loss"]), terms, self.network))
        return result

    def _look_at_gradient_share(self, batch: dict[str, Any]) -> float:
        batch = self._on_device(batch)
        with torch.autocast(self.device.type) if self.device.type == "cuda" else nullcontext():
            assert self._composed is not None
            return self._composed.feature_gradient_share(unwrapped(self.network)(batch["data"]), batch["target"])

    def _on_device(self, batch: dict[str, Any]) -> dict[str, Any]:
        def move(values: torch.Tensor) -> torch.Tensor:
            return values.to(self.device, non_blocking=True)

        target = batch["target"]
        moved = [move(scale) for scale in target] if isinstance(target, list) else move(target)
        return {**batch, "data": move(batch["data"]), "target": moved}

    def on_train_epoch_end(self, train_outputs: list[dict[str, Any]]) -> None:
        """Close the epoch's row of loss components."""
        super().on_train_epoch_end(train_outputs)
        self._say(self._not_finite.close_epoch(self.network))
        composed = self._composed
        if composed is None:
            return
        more = composed.scheduled()
        if composed.feature is not None:
            memory = composed.feature.memory
            more |= {SHARE: self._gradient_share, REJECTED: 0 if memory is None else memory.rejected}
            # The history may be that of a trainer without feature term, whose checkpoint is continued.
            rejected = more[REJECTED] - next((row.get(REJECTED, 0) for row in reversed(composed.components.history)), 0)
            if rejected > 0:
                self.print_to_log_file(
                    f"{rejected:.0f} embeddings of this epoch were not finite and are not remembered by the feature term. "
                    "A few are normal with mixed precision; if they go on, the training diverges."
                )
        row = composed.components.close_epoch(self.current_epoch, **more)
        if composed.feature is not None and SPATIAL in row and FEATURE not in row:
            self._say_no_feature("It was not defined in any step of this epoch")

    def _say(self, message: str | None) -> None:
        if message:
            self.print_to_log_file(message)

    def _say_no_feature(self, why: str) -> None:
        if self._said_no_feature:
            return
        self._said_no_feature = True
        self.print_to_log_file(
            f"WARNING: there is no feature term {self._feature_name}: {why}. The training is that of the spatial term alone. "
            "Take plans with a larger batch, or a feature term with a memory of earlier batches (InfoNCE, SupCon, PixelCon, "
            "FESS)."
        )

    def on_epoch_end(self) -> None:
        """Write the loss components beside nnU-Net's progress.png, and to wandb when nnU-Net's is on; stop if asked to."""
        epoch, every = self.current_epoch, self.save_every
        stops = epoch < self.num_epochs - 1 and self._is_asked_to_stop()
        self.save_every = 1 if stops else every  # nnU-Net's own periodic checkpoint
        super().on_epoch_end()
        self.save_every = every
        self._log_components(epoch)
        if stops:
            self.print_to_log_file("The training stops as it was asked to, after a checkpoint. Continue with --c.")
            if self.local_rank == 0:
                stopping.acknowledge()
            if self.is_ddp:  # the first process that ends ends the others
                dist.barrier()
            raise SystemExit(stopping.STOPPED)

    def _is_asked_to_stop(self) -> bool:
        if stopping.VARIABLE not in os.environ:
            return False
        asked = stopping.asked_to_stop()
        if self.is_ddp:  # all at the same epoch
            answer = torch.tensor([int(asked)], device=self.device)
            dist.broadcast(answer, src=0)
            asked = bool(answer.item())
        return asked

    def _log_components(self, epoch: int) -> None:
        if self._composed is None or not self._composed.components.history:
            return
        components = self._composed.components
        if self.local_rank == 0:
            components.write(Path(self.output_folder), type(self).__name__)
        for logger in self.logger.loggers:
            for name, value in components.history[-1].items():
                if name != "epoch":
                    logger.log(f"loss_components/{name}", value, epoch)

    def on_validation_epoch_start(self) -> None:
        """Start the epoch's validation part, on streams of its own when seeded; with `_emaX`, that of the average."""
        if self._average is not None:
            self._average.validate()
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
        """nnU-Net's checkpoint plus our state under a key of its own, complete on the disk or not at all.

        With `_emaX` nnU-Net's part has the average in place of the weights, for it is what predicts; ours has the weights.

        Raises:
            TrainingRefused: the disk is full or cannot be written.
        """
        if self.local_rank != 0 or self.disable_checkpointing:
            return super().save_checkpoint(filename)
        composed = self._composed
        state: dict[str, Any] = {TERMS: registry().provenance(self.trainer_name.loss)}
        if composed is not None:
            state["components"] = composed.components.state_dict()
        average = nullcontext() if self._average is None else self._average.validated()
        with self._stock_optimizer() as adopted, average:
            if self._average is not None:
                state["average"] = self._average.state_dict()
            if composed is not None and composed.feature is not None:
                state["feature"] = {
                    "name": self._feature_name,
                    "level": composed.feature.level,
                    "state": composed.feature.state_dict(),
                    "optimizer": adopted,
                }
            checkpoints.write(filename, super().save_checkpoint, state)
        return None

    def load_checkpoint(self, filename_or_checkpoint: dict[str, Any] | str) -> None:
        """Continue from a checkpoint of ours, of any loss, or of stock nnU-Net; what it has no state of starts afresh.

        With `--c`, one that is truncated or damaged is passed over for the readable one that is furthest.

        Raises:
            TrainingRefused: no file can be read, or what is read belongs to another network.
        """
        if not self.was_initialized:
            self.initialize()
        if isinstance(filename_or_checkpoint, str):
            checkpoint = self._readable(Path(filename_or_checkpoint))
            filename_or_checkpoint, state = str(checkpoint.path), checkpoint.state
        else:
            state = filename_or_checkpoint.get(checkpoints.KEY, {})
        with self._stock_optimizer(), _refusing_what_does_not_fit(filename_or_checkpoint):
            super().load_checkpoint(filename_or_checkpoint)
        if self._to_be_continued:
            self._say_what_is_done_again(filename_or_checkpoint)
        if self._average is not None:
            self._average.load_state_dict(state.get("average", {}))
        elif state.get("average", {}).get("weights"):
            self.print_to_log_file("The checkpoint's weights are a running average (_ema); this trainer goes on from it.")
        if self._composed is not None:
            if "components" in state:
                self._composed.components.load_state_dict(state["components"])
            if self._composed.feature is not None:
                self._load_feature(self._composed.feature, state.get("feature", {}))

    def _readable(self, path: Path) -> Checkpoint:
        try:
            return checkpoints.read(path, self.device)
        except checkpoints.Unreadable as error:
            instead, wrong = None, [str(error)]
            if self._to_be_continued and checkpoints.is_in(path, self.output_folder):
                instead, others = checkpoints.best_of(Path(self.output_folder), path, self.device)
                wrong += others
            if instead is None:
                raise TrainingRefused(
                    f"{' '.join(wrong)} Expected a complete checkpoint; a kill while nnU-Net wrote it leaves a truncated one. "
                    "Delete or move the file and run the same command again: --c then continues from the next one that is "
                    f"there ({', '.join(checkpoints.NAMES)}), or from the beginning."
                ) from error
            self.print_to_log_file(f"WARNING: {' '.join(wrong)} The training continues from {instead.path.name} instead.")
            return instead

    def _say_what_is_done_again(self, file: dict[str, Any] | str) -> None:
        source = Path(file).name if isinstance(file, str) else "a checkpoint"
        last = last_epoch(Path(self.output_folder))
        again = ""
        if last is not None and self.current_epoch <= last < self.num_epochs:
            which = f"Epochs {self.current_epoch} to {last} were" if last > self.current_epoch else f"Epoch {last} was"
            again = f" {which} trained before the interruption, but after that checkpoint, and will be trained again."
        self.print_to_log_file(f"The training continues from {source} with epoch {self.current_epoch}.{again}")

    def _load_feature(self, feature: FeatureLoss, kept: dict[str, Any]) -> None:
        fresh = copy.deepcopy(feature.state_dict())
        try:
            same = kept.get("name") == self._feature_name and kept.get("level", feature.level) == feature.level
            if not same or not checkpoints.same_form(fresh, kept["state"]):
                raise ValueError
            feature.load_state_dict(kept["state"])
        except (ValueError, KeyError, TypeError, RuntimeError):  # of another term, of other settings or of another version
            feature.load_state_dict(fresh)
            self.print_to_log_file(
                f"The checkpoint holds no state of the feature term {self._feature_name} that fits: its memory and "
                "projection head start afresh."
            )
            return
        for parameter, momentum in zip(feature.parameters(), kept["optimizer"], strict=True):
            self.optimizer.state[parameter] = momentum

    @property
    def _feature_name(self) -> str | None:
        feature = self.trainer_name.loss.feature
        return None if feature is None else feature.name

    @contextmanager
    def _stock_optimizer(self) -> Iterator[list[dict[str, Any]]]:
        """The optimizer without what `_adopt` added, whose state is yielded: nnU-Net's part of a checkpoint stays stock."""
        adopted = [] if self._feature is None else list(self._feature.parameters())
        group = self.optimizer.param_groups.pop() if adopted else None
        states = [self.optimizer.state.pop(parameter, {}) for parameter in adopted]
        try:
            yield states
        finally:
            if group is not None:
                self.optimizer.param_groups.append(group)
            self.optimizer.state.update(zip(adopted, states, strict=True))


@contextmanager
def _refusing_what_does_not_fit(file: dict[str, Any] | str) -> Iterator[None]:
    """Tell in a line that a checkpoint is not of this network, in place of the list of all its layers.

    Raises:
        TrainingRefused: torch could not put network or optimizer into the state of the checkpoint, or nnU-Net misses something.
    """
    try:
        yield
    except (KeyError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        missing = isinstance(error, KeyError)
        if not missing and not re.match(r"Error\(s\) in loading state_dict|loaded state dict", lines[0] if lines else ""):
            raise
        first = f"it has no {error}" if missing else (lines[1] if len(lines) > 1 else lines[0])
        raise TrainingRefused(
            f"{file if isinstance(file, str) else 'the checkpoint'} does not fit this training: {first}. Expected the network "
            "that the plans of now describe: they, or the dataset's labels, were changed since. Train from the beginning "
            "without --c (nnU-Net overwrites the fold), or put the plans of then back."
        ) from error


def _class_names(manager: LabelManager) -> list[str]:
    """What the channels of the network's output are called."""
    labels = {name: np.ravel(label).astype(int) for name, label in manager.label_dict.items() if name != "ignore"}
    if manager.has_regions:
        return [name for name, values in labels.items() if values.any()]  # nnU-Net has no channel for the background
    names = {value: name for name, values in reversed(labels.items()) for value in values}
    return [names[label] for label in manager.all_labels]
