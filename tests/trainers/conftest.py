from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_host import LABELS, network_plans

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

    def make(name: str, labels: str = "plain", dim: int = 3, network: str = "PlainConvUNet", initialize: bool = True) -> Any:
        plans = {
            "dataset_name": "Dataset999_Tiny",
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": list(range(3)),
            "transpose_backward": list(range(3)),
            "label_manager": "LabelManager",
            "configurations": {
                "tiny": {
                    "data_identifier": "nnUNetPlans_tiny",
                    "batch_size": 2,
                    "patch_size": [16] * dim,
                    "spacing": [1.0] * dim,
                    "normalization_schemes": ["ZScoreNormalization"],
                    "use_mask_for_norm": [False],
                    "architecture": network_plans(dim, network),
                    "batch_dice": False,
                }
            },
            "continue_training": False,
        }
        dataset = {"channel_names": {"0": "MRI"}, "labels": LABELS[labels], "numTraining": 1, "file_ending": ".nii.gz"}
        if "regions" in labels:
            dataset["regions_class_order"] = list(range(1, 1 + len(LABELS[labels].keys() - {"background", "ignore"})))
        trainer = build(name)(plans=plans, configuration="tiny", fold=0, dataset_json=dataset, device=torch.device("cpu"))
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
        scales = [16, 8] if trainer.enable_deep_supervision else [16]
        targets = []
        for size in scales:
            labels = torch.randint(0, highest, (2, 1, *[size] * dim), generator=generator, dtype=torch.int16)
            if manager.has_regions:
                parts = [*manager.foreground_regions, *([] if manager.ignore_label is None else [(manager.ignore_label,)])]
                tuples = [part if isinstance(part, (tuple, list)) else (part,) for part in parts]
                labels = torch.cat([sum(labels == value for value in part).bool() for part in tuples], 1)
            targets.append(labels)
        data = torch.randn((2, 1, *[16] * dim), generator=generator)
        return {"data": data, "target": targets if trainer.enable_deep_supervision else targets[0]}

    return make
