"""Two trainings and a conversion started at once on one dataset: each ends as if it were alone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import downloads
import pytest
import tiny_training
import torch
from matrix.host import Host

DATASET = "Dataset517_BraTS2017"
TRAINERS = ("nnUNetTrainerSupConCWCD", "nnUNetTrainerRRWDiceCE", "nnUNetTrainerRRWDiceCE")
FOLDS = ("0", "0", "1")
LENGTH = "_2epochs_2iters_1valiters_seed3"

pytestmark = pytest.mark.slow


@pytest.fixture
def preprocessed(host: Host) -> Path:
    """A preprocessed dataset under the name that the converter gives its own; nobody has made splits yet."""
    theirs, ours = host.preprocessed("plain"), host.root / "preprocessed" / DATASET
    shutil.rmtree(ours, ignore_errors=True)
    shutil.copytree(theirs, ours)
    for file in ours.glob("*.json"):
        file.write_text(file.read_text().replace(theirs.name, ours.name))
    (ours / "splits_final.json").unlink(missing_ok=True)
    return ours


def trained(host: Host, number: int) -> str:
    return f"nnUNetv2_train 517 3d_fullres {FOLDS[number]} -tr {TRAINERS[number]}{LENGTH} -p Tiny -device cpu"


def fold(results: Path, number: int) -> Path:
    return results / DATASET / f"{TRAINERS[number]}{LENGTH}__Tiny__3d_fullres" / f"fold_{FOLDS[number]}"


def contents(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "splits_final.json"
    }


def checkpoint(results: Path, number: int) -> dict:
    return torch.load(fold(results, number) / "checkpoint_final.pth", weights_only=False)


def test_three_trainings_and_a_conversion_at_once(host, preprocessed, tmp_path):
    download = downloads.brats2017(tmp_path / "download")
    convert = f"nnunet_fess convert brats2017 {download} -np 1"
    host.succeed(f"{convert} --overwrite")
    before = contents(preprocessed)
    together, alone = tmp_path / "together", tmp_path / "alone"
    for results in (together, alone):
        results.mkdir()

    ended = host.run(*(trained(host, number) for number in range(3)), f"{convert} --overwrite", nnUNet_results=str(together))
    for code, said in ended:
        assert code == 0, said[-3000:]
    assert contents(preprocessed) == before
    splits = json.loads((preprocessed / "splits_final.json").read_text())
    assert len(splits) == 5
    assert "holds data preprocessed from an earlier conversion" in ended[-1][1]
    assert len(list((host.root / "raw" / DATASET / "labelsTr").iterdir())) == 3

    for number in range(3):
        host.succeed(trained(host, number), nnUNet_results=str(alone))
        assert tiny_training.differences(checkpoint(alone, number), checkpoint(together, number)) == []
        (log,) = fold(together, number).glob("training_log_*.txt")
        text = log.read_text()
        assert re.findall(r"Epoch (\d+) ?$", text, re.MULTILINE) == ["0", "1"]
        assert text.count("Training done.") == 1
        assert f"predicting {splits[int(FOLDS[number])]['val'][0]}" in text
