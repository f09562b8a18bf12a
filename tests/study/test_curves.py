"""Training curves are read from what nnU-Net and our trainers write."""

import math

import pytest

from nnunet_fess.study.curves import component_curves, mean_curve, training_curves


def log(folder, name, epochs, loss):
    lines = []
    for epoch in epochs:
        lines += [
            f"2026-01-01 00:00:0{epoch}.000001: Epoch {epoch} ",
            "2026-01-01 00:00:00.000001: Current learning rate: 0.01 ",
            f"2026-01-01 00:00:00.000001: train_loss {loss} ",
            f"2026-01-01 00:00:00.000001: val_loss {loss + 1} ",
            "2026-01-01 00:00:00.000001: Pseudo dice [np.float32(0.5), np.float32(0.7), np.float32(nan)] ",
        ]
    (folder / name).write_text("\n".join(lines))


def test_a_log_is_read(tmp_path):
    log(tmp_path, "training_log_1.txt", [0, 1], -0.25)
    found = training_curves(tmp_path)
    assert found["training loss"] == {0: -0.25, 1: -0.25}
    assert found["validation loss"] == {0: 0.75, 1: 0.75}
    assert {epoch: round(value, 6) for epoch, value in found["Pseudo Dice"].items()} == {0: 0.6, 1: 0.6}


def test_a_continued_training_counts_as_it_was_done_last(tmp_path):
    log(tmp_path, "training_log_2026_1.txt", [0, 1, 2], 1.0)
    log(tmp_path, "training_log_2026_2.txt", [2, 3], 2.0)
    assert training_curves(tmp_path)["training loss"] == {0: 1.0, 1: 1.0, 2: 2.0, 3: 2.0}


def test_what_is_not_there_is_left_out(tmp_path):
    assert training_curves(tmp_path) == {} == component_curves(tmp_path)
    (tmp_path / "training_log_1.txt").write_bytes(b"\xff\xfe nothing: Epoch x\n: train_loss 3")
    assert training_curves(tmp_path) == {}


def test_components_are_read(tmp_path):
    (tmp_path / "loss_components.csv").write_text("epoch,spatial,feature\n0,1.5,\n1,1.25,nan\n")
    found = component_curves(tmp_path)
    assert found["spatial"] == {0: 1.5, 1: 1.25}
    assert math.isnan(found["feature"][1]) and 0 not in found["feature"]


def test_a_mean_is_of_the_epochs_that_all_have():
    assert mean_curve([{0: 1.0, 1: 2.0}, {1: 4.0, 2: 5.0}]) == {1: 3.0}
    assert mean_curve([]) == {}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"epoch,Dice\n0,0.5\nbroken,0.1\nnan,0.2\n1e400,0.3\n1,0.4\n", {"Dice": {0: 0.5, 1: 0.4}}),
        (b"epoch,Dice\n0,0.5,7,8\n1\n", {"Dice": {0: 0.5}}),
        (b"something\nelse\n", {}),
        (b"\xff\xfe\x00", {}),
        (b"", {}),
    ],
)
def test_damaged_parts_are_read_as_far_as_they_go(tmp_path, content, expected):
    (tmp_path / "loss_components.csv").write_bytes(content)
    assert component_curves(tmp_path) == expected
