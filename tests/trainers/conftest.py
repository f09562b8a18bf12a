from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_host import tiny_dataset, tiny_plans

from nnunet_fess.trainers import build


@pytest.fixture
def make_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """A trainer as nnU-Net makes it, on hand-written plans; nothing is preprocessed, batches come from `random_batch`."""
    for variable in ("raw", "preprocessed", "results"):
        (tmp_path / variable).mkdir()
        monkeypatch.setenv(f"nnUNet_{variable}", str(tmp_path / variable))
    folder = tmp_path / "preprocessed" / "Dataset999_Tiny" / "nnUNetPlans_tiny"
    folder.mkdir(parents=True)
    np.savez(folder / "case.npz", data=np.zeros(1))  # nnU-Net infers the storage class from what it finds

    def make(
        name: str | type,
        labels: str = "plain",
        dim: int = 3,
        network: str = "PlainConvUNet",
        initialize: bool = True,
        plans: dict[str, Any] | None = None,
        dataset: dict[str, Any] | None = None,
        continues: bool = False,
    ) -> Any:
        trainer = (build(name) if isinstance(name, str) else name)(
            plans=(plans or tiny_plans(dim, network)) | {"continue_training": continues},
            configuration="tiny",
            fold=0,
            dataset_json=dataset or tiny_dataset(labels),
            device=torch.device("cpu"),
        )
        if initialize:
            trainer.initialize()
        return trainer

    return make


@pytest.fixture
def random_batch() -> Callable[..., dict[str, Any]]:
    """What nnU-Net's loader hands to `train_step` for a trainer: image and one target per deep-supervision scale."""

    def make(trainer: Any, seed: int = 0) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        manager, dim = trainer.label_manager, len(trainer.configuration_manager.patch_size)
        highest = max(manager.all_labels) + 1 + (manager.ignore_label is not None)
        batch = trainer.configuration_manager.batch_size
        scales = [16, 8] if trainer.enable_deep_supervision else [16]
        targets = []
        for size in scales:
            labels = torch.randint(0, highest, (batch, 1, *[size] * dim), generator=generator, dtype=torch.int16)
            if manager.has_regions:
                parts = [*manager.foreground_regions, *([] if manager.ignore_label is None else [(manager.ignore_label,)])]
                tuples = [part if isinstance(part, (tuple, list)) else (part,) for part in parts]
                labels = torch.cat([sum(labels == value for value in part).bool() for part in tuples], 1)
            targets.append(labels)
        data = torch.randn((batch, trainer.num_input_channels, *[16] * dim), generator=generator)
        return {"data": data, "target": targets if trainer.enable_deep_supervision else targets[0]}

    return make
