"""What cannot work, and how a training says so: before its first epoch, with NotImplementedError and the reason."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_fess.testing.tiny_trainer import tiny_dataset, tiny_folders, tiny_plans
from nnunet_fess.trainers import build
from nnunet_fess.trainers.catalogue import FEATURE


def said(refusal: Callable[[], Any]) -> str:
    """The reason; AssertionError if the training is not refused."""
    with tempfile.TemporaryDirectory() as folder, tiny_folders(Path(folder)):
        try:
            refusal()
        except NotImplementedError as error:
            return str(error)
    raise AssertionError("it was not refused")


def _start(name: str, dataset: dict[str, Any] | None = None, network: type | None = None, device: str = "cpu") -> None:
    """A training up to its first epoch."""
    trainer = build(name)(
        plans=tiny_plans() | {"continue_training": False},
        configuration="tiny",
        fold=0,
        dataset_json=dataset or tiny_dataset(),
        device=torch.device("cpu"),
    )
    made = staticmethod(lambda *_: network(1, 3, 1))
    with nullcontext() if network is None else mock.patch.object(nnUNetTrainer, "build_network_architecture", made):
        if device == "cpu":
            trainer.initialize()
        trainer.device = torch.device(device)
        trainer.on_train_start()


def _on_two_gpus(name: str) -> None:
    """A training's loss, of a batch of three patches on two GPUs; no process is started."""
    plans = tiny_plans(batch_size=3) | {"continue_training": False}
    plans["configurations"]["tiny"]["batch_dice"] = True
    trainer = build(name)(plans=plans, configuration="tiny", fold=0, dataset_json=tiny_dataset(), device=torch.device("cpu"))
    trainer.is_ddp = True
    with mock.patch.object(torch.distributed, "get_world_size", lambda: 2):
        trainer._build_loss()


def _nine_regions() -> dict[str, Any]:
    regions = {f"part{i}": [i, 10] for i in range(1, 10)}
    return tiny_dataset() | {"labels": {"background": 0, **regions}, "regions_class_order": list(range(1, 10))}


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    **{
        f"{feature}, a network without a convolutional encoder (Primus and other transformers)": (
            lambda feature=feature: _start(f"nnUNetTrainer{feature}", network=torch.nn.Conv3d),
            "has no convolutional encoder",
        )
        for feature in FEATURE
    },
    **{
        f"{feature}, more than eight regions": (
            lambda feature=feature: _start(f"nnUNetTrainer{feature}", _nine_regions()),
            "at most 8 regions",
        )
        for feature in ("SupCon", "PixelCon", "Prototypes")
    },
    "DiceCE with batch dice, on GPUs that cannot share the batch evenly": (
        lambda: _on_two_gpus("nnUNetTrainerDiceCE"),
        "cannot where they have different numbers of patches",
    ),
    "`_bf16`, not on a CPU": (lambda: _start("nnUNetTrainerCE_bf16", device="cuda"), "_bf16 is for trainings with -device cpu"),
}
