"""A training that is cut off and continued equals one that was not, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from nnunet_fess.trainers.components import CSV_NAME


class CutOff(Exception):
    """Stands for the kill."""


@pytest.fixture
def dataset(make_trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four preprocessed cases under the folders of `make_trainer`: a bright ball each."""
    base = tmp_path / "preprocessed" / "Dataset999_Tiny"
    folder = base / "nnUNetPlans_tiny"
    (folder / "case.npz").unlink()
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
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setattr("nnunetv2.training.logging.nnunet_logger.LocalLogger.plot_progress_png", lambda *_: None)  # slow


def run(trainer: Any, *, stop_before: int | None = None) -> Any:
    """Train; with `stop_before`, die at the start of that epoch."""
    trainer.save_every = 2
    start = trainer.on_epoch_start

    def on_epoch_start() -> None:
        if trainer.current_epoch == stop_before:
            raise CutOff
        start()

    trainer.on_epoch_start = on_epoch_start
    if stop_before is None:
        trainer.run_training()
    else:
        with pytest.raises(CutOff):
            trainer.run_training()
    return trainer


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two checkpoints differ; times of day and random names apart."""
    if path.rsplit("/", 1)[-1] in {"epoch_start_timestamps", "epoch_end_timestamps"}:
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


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "feature",
    ["SupCon_queue6", *(pytest.param(name, marks=pytest.mark.slow) for name in ("FESS_eta1", "SimCLR", "InfoNCE_queue6"))],
)
def test_two_and_two_epochs_equal_four(make_trainer, dataset, feature, workers, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", workers)
    name = f"nnUNetTrainer{feature}_4epochs_3iters_2valiters_seed5"
    straight = run(make_trainer(name))
    folder = Path(straight.output_folder)
    expected = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    table = (folder / CSV_NAME).read_text()
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()

    run(make_trainer(name), stop_before=2)
    resumed = make_trainer(name)
    resumed.load_checkpoint(str(folder / "checkpoint_latest.pth"))
    run(resumed)
    got = torch.load(folder / "checkpoint_final.pth", weights_only=False)

    assert len(expected["logging"]["train_losses"]) == 4
    assert expected["nnunet_fess"]["feature"]["state"]
    assert differences(expected, got) == []
    assert (folder / CSV_NAME).read_text() == table
