from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnunet_fess.testing.tiny_trainer import random_batch, tiny_dataset, tiny_plans
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


@pytest.fixture(name="random_batch")
def _random_batch() -> Callable[..., dict[str, Any]]:
    """What nnU-Net's loader hands to `train_step` for a trainer."""
    return random_batch
