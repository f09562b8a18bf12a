"""A training of a few seconds as nnU-Net's command runs it, on four preprocessed cases; for tests that cut it off."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.training.logging.nnunet_logger import LocalLogger

from nnunet_fess.testing.tiny_trainer import tiny_dataset, tiny_plans
from nnunet_fess.trainers import build

# What is never the same twice.
_TIMES = {"epoch_start_timestamps", "epoch_end_timestamps"}


def preprocess(preprocessed: Path) -> None:
    """Four cases of `tiny_plans`, a bright ball each, three to train with."""
    base = preprocessed / "Dataset999_Tiny"
    folder = base / "nnUNetPlans_tiny"
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    grid = np.indices((20, 20, 20))
    for case in range(4):
        distance = np.linalg.norm(grid - rng.uniform(7, 13, 3)[:, None, None, None], axis=0)
        labels = (distance < 6).astype(np.int16) + (distance < 3)
        image = labels + rng.normal(0, 0.3, labels.shape)
        places = {label: np.argwhere(labels[None] == label) for label in (1, 2)}
        nnUNetDatasetBlosc2.save_case(
            image[None].astype(np.float32),
            labels[None],
            {"class_locations": places},
            str(folder / f"case{case}"),
            *[(1, 20, 20, 20)] * 4,
        )
    (base / "splits_final.json").write_text(json.dumps([{"train": ["case0", "case1", "case2"], "val": ["case3"]}]))
    (base / "dataset_fingerprint.json").write_text("{}")


def train(root: str, results: str, name: str, continues: bool, die_in_write: int = 0, processes: str = "0") -> None:
    """Train, or continue, as `nnUNetv2_train … [--c]` does.

    Args:
        root: with the folder "preprocessed".
        results: nnUNet_results.
        name: of the trainer.
        continues: --c.
        die_in_write: the number of the checkpoint in the middle of whose writing the process is killed; 0: none.
        processes: nnUNet_n_proc_DA.
    """
    os.environ |= {"nnUNet_raw": root, "nnUNet_preprocessed": f"{root}/preprocessed", "nnUNet_results": results}
    os.environ["nnUNet_n_proc_DA"] = processes
    torch.set_num_threads(1)
    LocalLogger.plot_progress_png = lambda *_: None  # slow
    written, save = [], torch.save

    def save_and_die(content: Any, file: Any) -> None:
        written.append(file)
        if len(written) == die_in_write:
            whole = io.BytesIO()
            save(content, whole)
            Path(file).write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        save(content, file)

    torch.save = save_and_die
    plans = tiny_plans() | {"continue_training": continues}
    trainer = build(name)(plans=plans, configuration="tiny", fold=0, dataset_json=tiny_dataset(), device=torch.device("cpu"))
    maybe_load_checkpoint(trainer, continues, validation_only=False)
    trainer.run_training()


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two checkpoints differ; times of day apart."""
    if path.rsplit("/", 1)[-1] in _TIMES:
        return []
    if torch.is_tensor(one):
        return [] if torch.equal(one, other) else [path]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{path}: {sorted(map(str, one))} and {sorted(map(str, other))}"]
        return [found for key in one for found in differences(one[key], other[key], f"{path}/{key}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{path}: {len(one)} and {len(other)}"]
        return [found for i, pair in enumerate(zip(one, other, strict=True)) for found in differences(*pair, f"{path}/{i}")]
    return [] if np.array_equal(one, other) else [f"{path}: {one} and {other}"]
