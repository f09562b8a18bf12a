"""What is said of a trainer whose package is not there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from nnunet_fess.search import find
from nnunet_fess.trainers.missing import missing_packages
from nnunet_fess.trainers.registry import VARIABLE

TRAINER = "nnUNetTrainerMyTversky_3epochs"
PACKAGE = {"MyTversky": {"distribution": "my-losses", "version": "1.5", "module": "my_losses.terms"}}


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / f"Dataset001_A/{TRAINER}__nnUNetPlans__3d_fullres/fold_0"
    folder.mkdir(parents=True)
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    return folder


def checkpoint(**terms: dict[str, str]) -> dict[str, object]:
    return {"trainer_name": TRAINER, "nnunet_fess": {"terms": terms}}


def test_a_package_is_named_with_its_version_and_how_to_go_on(results):
    (results / "checkpoint_best.pth").write_bytes(b"truncated")
    torch.save(checkpoint(**PACKAGE), results / "checkpoint_latest.pth")
    said = missing_packages(TRAINER)
    assert said is not None
    assert "the package my-losses 1.5, which is not installed here" in said
    assert "pip install my-losses==1.5" in said
    assert f"nnunet_fess share DATASET -tr {TRAINER}" in said


def test_a_file_is_named(results):
    torch.save(
        checkpoint(Mine={"distribution": "/x/mine.py", "version": "abc", "module": ""}), results / "checkpoint_final.pth"
    )
    assert f"export {VARIABLE}=/x/mine.py" in str(missing_packages(TRAINER))


@pytest.mark.parametrize("module", ["", "a.terms"])
def test_what_is_to_be_copied_into_a_shell_is_quoted(results, tmp_path, module):
    evil = "x$(touch gone)"
    torch.save(
        checkpoint(Mine={"distribution": evil, "version": "1;touch gone", "module": module}), results / "checkpoint_a.pth"
    )
    said = str(missing_packages(TRAINER))
    command = said.splitlines()[0].split(":  ")[1].replace("pip install", "echo")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert not (tmp_path / "gone").exists()


def test_one_that_is_there_and_refused_is_told_so(results, tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text("oh dear\n")
    monkeypatch.setenv(VARIABLE, str(path))
    origin = {"distribution": str(path), "version": "abc", "module": ""}
    torch.save(checkpoint(Mine=origin), results / "checkpoint_final.pth")
    assert "which is refused: it cannot be imported: mine.py, line 1" in str(missing_packages(TRAINER))


def test_the_checkpoint_that_a_prediction_has_read_is_asked_first(monkeypatch):
    monkeypatch.delenv("nnUNet_results", raising=False)
    checkpoint = {"trainer_name": TRAINER, "nnunet_fess": {"terms": PACKAGE}}  # as nnU-Net's predictor calls it
    assert "my-losses 1.5" in str(missing_packages(TRAINER))
    assert checkpoint


@pytest.mark.parametrize(
    "state", [{}, {"nnunet_fess": None}, {"nnunet_fess": {"components": 3}}, {"nnunet_fess": {"terms": {}}}]
)
def test_a_checkpoint_that_needs_no_package_says_nothing(results, state):
    torch.save({"trainer_name": TRAINER, **state}, results / "checkpoint_final.pth")
    assert missing_packages(TRAINER) is None
    assert missing_packages("nnUNetTrainer*") is None


def test_the_search_says_it(results, capsys):
    torch.save(checkpoint(**PACKAGE), results / "checkpoint_final.pth")
    with pytest.raises(AttributeError, match="which is not installed"):
        find(TRAINER)
    assert "pip install my-losses==1.5" in capsys.readouterr().err
