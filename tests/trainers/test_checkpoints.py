from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from nnunet_fess.files import partial_of
from nnunet_fess.trainers import checkpoints
from nnunet_fess.trainers.errors import TrainingRefused

CPU = torch.device("cpu")


def content(epoch: int = 3) -> dict:
    return {"current_epoch": epoch, "network_weights": {"weight": torch.ones(1000)}}


def write(path: Path, epoch: int = 3, state: dict | None = None) -> None:
    checkpoints.write(path, lambda file: torch.save(content(epoch), file), state or {"ours": torch.arange(3)})


def damage(path: Path, how: str) -> None:
    bytes_ = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "cut":
        path.write_bytes(bytes_[: len(bytes_) // 2])
    elif how == "the last byte is missing":
        path.write_bytes(bytes_[:-1])
    elif how == "other bytes in the middle":
        at = len(bytes_) // 2
        path.write_bytes(bytes_[:at] + bytes(255 - byte for byte in bytes_[at : at + 400]) + bytes_[at + 400 :])
    elif how == "text":
        path.write_text("no checkpoint")
    elif how == "something else":
        torch.save({"weights": 1}, path)
    elif how == "no dictionary":
        torch.save([1], path)


DAMAGES = ["empty", "cut", "the last byte is missing", "other bytes in the middle", "text", "something else", "no dictionary"]


def test_our_state_comes_back_beside_nnunets(tmp_path):
    write(tmp_path / "checkpoint_latest.pth")
    loaded = torch.load(tmp_path / "checkpoint_latest.pth", weights_only=False)
    assert loaded.keys() == {"current_epoch", "network_weights", checkpoints.KEY}
    read = checkpoints.read(tmp_path / "checkpoint_latest.pth", CPU)
    assert (read.epoch, read.state["ours"].tolist()) == (3, [0, 1, 2])


def test_is_written_once(tmp_path, monkeypatch):
    files = []
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda content, file, *args, **kwargs: (files.append(file), save(content, file)))
    monkeypatch.setattr(torch, "load", None)
    write(tmp_path / "a.pth")
    assert files == [str(partial_of(tmp_path / "a.pth"))]


def test_other_files_saved_meanwhile_are_left_alone(tmp_path):
    def save(file: str) -> None:
        torch.save({"something": "else"}, tmp_path / "other.pth")
        torch.save(content(), file)

    checkpoints.write(tmp_path / "a.pth", save, {"ours": 1})
    assert torch.load(tmp_path / "other.pth", weights_only=False) == {"something": "else"}


def test_torch_save_is_put_back(tmp_path):
    save = torch.save
    with pytest.raises(ZeroDivisionError):
        checkpoints.write(tmp_path / "a.pth", lambda file: 1 / 0, {})
    assert torch.save is save


def test_a_release_that_saves_by_other_means_is_added_to(tmp_path):
    saved_elsewhere = tmp_path / "elsewhere"
    torch.save(content(), saved_elsewhere)
    checkpoints.write(tmp_path / "a.pth", lambda file: Path(file).write_bytes(saved_elsewhere.read_bytes()), {"ours": 5})
    assert checkpoints.read(tmp_path / "a.pth", CPU).state == {"ours": 5}


def test_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    order = []
    flush, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("flush"), flush(descriptor)))
    monkeypatch.setattr(Path, "replace", lambda *args: (order.append("rename"), replace(*args))[1])
    write(tmp_path / "a.pth")
    assert order[:2] == ["flush", "rename"]


FULL = """
import sys, torch
from nnunet_fess.trainers import checkpoints
checkpoints.write(sys.argv[1], lambda file: torch.save({"current_epoch": 1, "weights": torch.ones(10**6)}, file), {})
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of a file as POSIX systems do")
def test_a_full_disk_is_told_and_leaves_the_file_of_before(tmp_path):
    path = tmp_path / "checkpoint_latest.pth"
    write(path)
    before = path.read_bytes()

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))

    done = subprocess.run([sys.executable, "-c", FULL, path], preexec_fn=limit, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"TrainingRefused: {path} cannot be written: " in done.stderr
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_one_is_named(tmp_path, how):
    path = tmp_path / "checkpoint_latest.pth"
    write(path)
    damage(path, how)
    with pytest.raises(checkpoints.Unreadable, match=str(path)):
        checkpoints.read(path, CPU)


# What the bytes of a damaged file ask the unpickler to do, and what they hold when they ask for something that works.
INSTRUCTIONS = {
    "a module that is not there": b"cnosuch\nthing\n.",
    "more bytes than there are": b"\x8e\xff\xff\xff\xff\xff\xff\xff\xff.",
    "an index that is not there": b"j\x05\x00\x00\x00.",
    "a failing call": b"cbuiltins\nlen\n(I1\ntR.",
    "an assertion": b"ctorch\n_assert\n(I00\nVno\ntR.",
}


@pytest.mark.parametrize("bytes_", INSTRUCTIONS.values(), ids=INSTRUCTIONS)
def test_whatever_damaged_bytes_ask_for_is_unreadable(tmp_path, bytes_):
    (tmp_path / "a.pth").write_bytes(bytes_)
    with pytest.raises(checkpoints.Unreadable, match=r"a\.pth cannot be read"):
        checkpoints.read(tmp_path / "a.pth", CPU)


@pytest.mark.parametrize(
    "held",
    [torch.ones(3), None, content(float("inf")), content("3"), content() | {checkpoints.KEY: 5}, {"current_epoch": 3}],
    ids=["tensor", "None", "inf", "text", "our state", "no weights"],
)
def test_what_is_no_checkpoint_is_named(tmp_path, held):
    torch.save(held, tmp_path / "a.pth")
    with pytest.raises(checkpoints.Unreadable, match=r"a\.pth is no checkpoint of nnU-Net"):
        checkpoints.read(tmp_path / "a.pth", CPU)


def test_one_of_an_old_torch_is_read(tmp_path):
    torch.save(content(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert checkpoints.read(tmp_path / "a.pth", CPU).epoch == 3


def test_the_one_that_is_furthest_is_the_best_of_a_folder(tmp_path):
    for name, epoch in zip(checkpoints.NAMES, (9, 4, 6), strict=True):
        write(tmp_path / name, epoch)
    damage(tmp_path / checkpoints.NAMES[0], "cut")
    found, wrong = checkpoints.best_of(tmp_path, tmp_path / checkpoints.NAMES[0], CPU)
    assert (found.path.name, found.epoch, wrong) == ("checkpoint_best.pth", 6, [])


def test_unfinished_files_are_removed_and_nothing_else(tmp_path):
    for name in checkpoints.NAMES:
        (tmp_path / name).touch()
        partial_of(tmp_path / name).touch()
        (tmp_path / f".{name}.other-0123abcd.part").touch()
        (tmp_path / f"{name}.partial").touch()
    (tmp_path / "notes.partial").touch()
    checkpoints.tidy(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*checkpoints.NAMES, "notes.partial"])


class TestToBeContinued:
    """`--c` in a folder with damaged checkpoints."""

    @pytest.fixture
    def folder(self, make_trainer, random_batch) -> Path:
        trainer = make_trainer("nnUNetTrainerSimCLR_seed0")
        trainer.network.train()
        trainer.train_step(random_batch(trainer))
        for name, epoch in (("checkpoint_latest.pth", 4), ("checkpoint_best.pth", 2)):
            trainer.current_epoch = epoch
            trainer.save_checkpoint(str(Path(trainer.output_folder) / name))
        trainer.loss.components.history = [{"epoch": float(epoch)} for epoch in range(6)]
        trainer.loss.components.write(Path(trainer.output_folder))
        return Path(trainer.output_folder)

    @pytest.mark.parametrize("how", DAMAGES)
    def test_falls_back_to_the_next_readable_one_and_says_so(self, make_trainer, folder, how, capsys):
        damage(folder / "checkpoint_latest.pth", how)
        resumed = make_trainer("nnUNetTrainerSimCLR_seed0", continues=True)
        resumed.load_checkpoint(str(folder / "checkpoint_latest.pth"))
        assert resumed.current_epoch == 3
        said = capsys.readouterr().out
        assert "checkpoint_latest.pth" in said
        assert "The training continues from checkpoint_best.pth instead." in said
        assert "Epochs 3 to 5 were trained before the interruption, but after that checkpoint" in said
        assert (
            said in Path(resumed.log_file).read_text() or "continues from checkpoint_best" in Path(resumed.log_file).read_text()
        )

    @pytest.mark.parametrize("part", ["network", "optimizer", "nothing of nnU-Net's log"])
    def test_one_of_another_network_is_refused_in_a_line_and_left_alone(self, make_trainer, folder, part):
        path = folder / "checkpoint_latest.pth"
        held = torch.load(path, weights_only=False)
        if part == "network":
            first = next(iter(held["network_weights"]))
            held["network_weights"][first] = torch.zeros(1, 2, 3)
        elif part == "optimizer":
            held["optimizer_state"]["param_groups"].append(held["optimizer_state"]["param_groups"][0])
        else:
            del held["logging"]
        torch.save(held, path)
        before = path.read_bytes()
        with pytest.raises(TrainingRefused, match=r"checkpoint_latest\.pth does not fit this training: ") as refused:
            make_trainer("nnUNetTrainerSimCLR_seed0", continues=True).load_checkpoint(str(path))
        assert "\n" not in str(refused.value)
        assert path.read_bytes() == before

    def test_says_what_is_done_again(self, make_trainer, folder, capsys):
        resumed = make_trainer("nnUNetTrainerSimCLR_seed0", continues=True)
        resumed.load_checkpoint(str(folder / "checkpoint_latest.pth"))
        assert "continues from checkpoint_latest.pth with epoch 5. Epoch 5 was trained before" in capsys.readouterr().out

    def test_none_that_can_be_read_is_refused(self, make_trainer, folder):
        for name in ("checkpoint_latest.pth", "checkpoint_best.pth"):
            damage(folder / name, "cut")
        resumed = make_trainer("nnUNetTrainerSimCLR_seed0", continues=True)
        with pytest.raises(TrainingRefused, match=r"latest.pth cannot be read: .*best.pth cannot be read: "):
            resumed.load_checkpoint(str(folder / "checkpoint_latest.pth"))

    def test_a_validation_does_not_fall_back(self, make_trainer, folder):
        damage(folder / "checkpoint_latest.pth", "cut")
        with pytest.raises(TrainingRefused, match="cannot be read"):
            make_trainer("nnUNetTrainerSimCLR_seed0").load_checkpoint(str(folder / "checkpoint_latest.pth"))

    def test_neither_does_a_file_from_elsewhere(self, make_trainer, folder, tmp_path):
        (tmp_path / "checkpoint_latest.pth").write_text("no checkpoint")
        with pytest.raises(TrainingRefused, match="cannot be read"):
            make_trainer("nnUNetTrainerSimCLR_seed0", continues=True).load_checkpoint(str(tmp_path / "checkpoint_latest.pth"))
