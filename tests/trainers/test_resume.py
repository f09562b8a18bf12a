"""A training that is cut off and continued equals one that was not, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_training import differences, preprocess

from nnunet_fess.processes import stopping
from nnunet_fess.trainers.components import CSV_NAME


class CutOff(Exception):
    """Stands for the kill."""


@pytest.fixture
def dataset(make_trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four preprocessed cases under the folders of `make_trainer`: a bright ball each."""
    (tmp_path / "preprocessed" / "Dataset999_Tiny" / "nnUNetPlans_tiny" / "case.npz").unlink()
    preprocess(tmp_path / "preprocessed")
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


def two_and_two_epochs(make_trainer: Any, name: str) -> dict[str, Any]:
    """The checkpoint of four epochs, after making sure that two and two more end in the same state, to the last bit."""
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
    assert differences(expected, got) == []
    assert (folder / CSV_NAME).read_text() == table
    return expected


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "feature",
    [
        "SupCon_queue6",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("FESS_eta1", "SimCLR", "InfoNCE_queue6", "PixelCon_queue60", "Prototypes")
        ),
    ],
)
def test_two_and_two_epochs_equal_four(make_trainer, dataset, feature, workers, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", workers)
    name = f"nnUNetTrainer{feature}_4epochs_3iters_2valiters_seed5"
    assert two_and_two_epochs(make_trainer, name)["nnunet_fess"]["feature"]["state"]


@pytest.mark.parametrize("control", ["cutmix0p5", "ema0p9"])
def test_two_and_two_epochs_with_a_control_equal_four(make_trainer, dataset, control):
    two_and_two_epochs(make_trainer, f"nnUNetTrainerDice_4epochs_3iters_2valiters_seed5_{control}")


@pytest.mark.parametrize("schedule", ["balanced", pytest.param("cosine", marks=pytest.mark.slow)])
def test_the_weights_of_region_and_map_go_on_as_they_were(make_trainer, dataset, schedule):
    two_and_two_epochs(make_trainer, f"nnUNetTrainerRRWDiceCE_{schedule}_4epochs_3iters_2valiters_seed5")
    table = next(Path(make_trainer("nnUNetTrainerRRW").output_folder_base).parent.rglob(CSV_NAME)).read_text().splitlines()
    weights = {
        tuple(row.split(",")[table[0].split(",").index(f"weight_{part}")] for part in ("region", "map")) for row in table[1:]
    }
    assert len(weights) > 1, "the schedule moves, or the test could not fail"


def test_a_training_that_is_asked_to_stop_writes_a_checkpoint_at_its_epochs_end(make_trainer, dataset, tmp_path, monkeypatch):
    name = "nnUNetTrainerFESS_4epochs_2iters_1valiters_seed3"
    straight = run(make_trainer(name))
    folder = Path(straight.output_folder)
    expected = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    for file in folder.iterdir():
        if file.is_file():
            file.unlink()
    asked = tmp_path / "stop"
    monkeypatch.setenv(stopping.VARIABLE, str(asked))
    trainer = make_trainer(name)
    trainer.save_every = 50  # no checkpoint but the best one and the one that is asked for
    start = trainer.on_epoch_start
    trainer.on_epoch_start = lambda: (asked.touch() if trainer.current_epoch == 1 else None, start())
    with pytest.raises(SystemExit) as ended:
        trainer.run_training()
    assert ended.value.code == stopping.STOPPED
    assert not asked.exists()
    assert trainer.save_every == 50
    latest = folder / "checkpoint_latest.pth"
    assert torch.load(latest, weights_only=False)["current_epoch"] == 2
    resumed = make_trainer(name)
    resumed.load_checkpoint(str(latest))
    run(resumed)
    assert differences(expected, torch.load(folder / "checkpoint_final.pth", weights_only=False)) == []


def test_in_its_last_epoch_a_training_ends_as_it_would_have(make_trainer, dataset, tmp_path, monkeypatch):
    (tmp_path / "stop").touch()
    monkeypatch.setenv(stopping.VARIABLE, str(tmp_path / "stop"))
    trainer = run(make_trainer("nnUNetTrainerDiceCE_1epochs_2iters_1valiters"))
    assert (Path(trainer.output_folder) / "checkpoint_final.pth").is_file()
