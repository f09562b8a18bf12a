"""nnU-Net's own DDP training in two processes on the CPU, from its command line to the checkpoint and the validation."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from matrix.host import NUMBERS, Failed
from matrix.two_ranks import COMMAND, NOTES

from nnunet_fess.trainers.components import CSV_NAME

LENGTH = "_2epochs_3iters_2valiters_saveevery1"
PLANS = "TinyBatchOf"
# All three kinds of terms at once, each kind by itself, and every feature term.
TRAINERS = {
    "nnUNetTrainerSupConRRWCWCD": "regions and ignore",
    "nnUNetTrainerCWCD": "ignore",
    "nnUNetTrainerDiceCE": "plain",
    "nnUNetTrainerHausdorffDT": "plain",
    "nnUNetTrainerBoundaryDiceCE_balanced": "regions",
    "nnUNetTrainerFESSDiceCE": "plain",
    "nnUNetTrainerSimCLRDWCE": "regions",
    "nnUNetTrainerInfoNCETversky": "ignore",
    "nnUNetTrainerPixelConDiceCE": "regions and ignore",
    "nnUNetTrainerPrototypesCE": "plain",
}


def of(trainer: str) -> int:
    """Patches in a batch."""
    return 4 if "DiceCE" in trainer else 3


@pytest.fixture
def train(host, tmp_path):
    """nnU-Net's command on two ranks; a batch of three is two patches on one and one on the other.

    nnU-Net's own loss cannot do that, so that trainers with it have four patches.
    """

    def run(kind: str, trainer: str, more: str = "", batch: int | None = None) -> tuple[Path, str]:
        folder, batch = host.preprocessed(kind), batch or of(trainer)
        plans = json.loads((folder / "Tiny.json").read_text()) | {"plans_name": f"{PLANS}{batch}"}
        plans["configurations"]["2d"]["batch_size"] = batch
        (folder / f"{PLANS}{batch}.json").write_text(json.dumps(plans))
        said = host.succeed(
            f"{COMMAND} {NUMBERS[kind]} 2d 0 -tr {trainer} -p {PLANS}{batch} -num_gpus 2 {more}",
            **{NOTES: str(tmp_path), "nnUNet_compile": "f"},
        )
        return host.root / "results" / host.name(kind) / f"{trainer}__{PLANS}{batch}__2d" / "fold_0", said

    return run


@pytest.mark.slow
@pytest.mark.parametrize("base", TRAINERS)
def test_a_training_ends_on_two_ranks(train, tmp_path, base):
    trainer = f"{base}{LENGTH}"
    fold, _ = train(TRAINERS[base], trainer)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    assert [rank["sizes"] for rank in ranks] == [[2] * 6, [of(trainer) - 2] * 6]
    assert all(torch.equal(value, ranks[1]["weights"][name]) for name, value in ranks[0]["weights"].items())
    checkpoint = torch.load(fold / "checkpoint_final.pth", weights_only=False)
    assert checkpoint["trainer_name"] == trainer
    assert all(torch.equal(value, ranks[0]["weights"][name]) for name, value in checkpoint["network_weights"].items())
    with (fold / CSV_NAME).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(math.isfinite(float(value)) for row in rows for value in row.values()), rows
    assert len(json.loads((fold / "validation" / "summary.json").read_text())["metric_per_case"]) == 1
    shutil.rmtree(fold.parent)


@pytest.mark.slow
def test_it_is_continued_on_two_ranks(train):
    trainer = f"nnUNetTrainerSupConDiceCE{LENGTH}"
    fold, _ = train("plain", trainer)
    (fold / "checkpoint_final.pth").rename(fold / "checkpoint_latest.pth")
    _, said = train("plain", trainer, "--c")
    assert "The training continues from checkpoint_latest.pth with epoch 2." in said
    assert (fold / "checkpoint_final.pth").is_file()


@pytest.mark.slow
def test_nnunets_own_loss_is_refused_where_the_ranks_have_unequal_batches(train):
    with pytest.raises(Failed, match="gathers the sums of every patch from all GPUs"):
        train("plain", f"nnUNetTrainerDiceCE{LENGTH}", batch=3)
