from __future__ import annotations

import csv

import pytest
import torch

from nnunet_fess.testing.ranks import run_on_two_ranks
from nnunet_fess.trainers.components import CSV_NAME, FIGURE_NAME, Components, last_epoch


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value)


def test_a_row_is_the_mean_over_the_steps():
    components = Components()
    for value in (1.0, 2.0, 6.0):
        components.add("spatial", scalar(value))
    assert components.close_epoch(4, share=0.5) == {"epoch": 4, "spatial": 3, "share": 0.5}


def test_steps_before_a_term_is_defined_do_not_count():
    components = Components()
    for step in range(3):
        components.add("spatial", scalar(1.0))
        if step:
            components.add("feature", scalar(4.0))
    assert components.close_epoch(0)["feature"] == 4


def test_an_epoch_that_is_done_again_replaces_its_row():
    components = Components()
    for epoch in (0, 1, 2, 1):
        components.close_epoch(epoch)
    assert [row["epoch"] for row in components.history] == [0, 1]


def test_the_table_has_every_column_of_every_epoch(tmp_path):
    components = Components()
    components.add("spatial", scalar(1.5))
    components.close_epoch(0)
    components.add("spatial", scalar(0.5))
    components.add("feature", scalar(0.25))
    components.close_epoch(1)
    components.write(tmp_path)
    with (tmp_path / CSV_NAME).open() as file:
        assert list(csv.reader(file)) == [["epoch", "spatial", "feature"], ["0", "1.5", ""], ["1", "0.5", "0.25"]]


def test_the_figure_is_a_picture(tmp_path):
    components = Components()
    components.add("spatial", scalar(1.5))
    components.close_epoch(0)
    components.write(tmp_path)
    assert (tmp_path / FIGURE_NAME).read_bytes().startswith(b"\x89PNG")


def test_the_history_survives_a_checkpoint():
    components, restored = Components(), Components()
    components.close_epoch(0, share=1.0)
    restored.load_state_dict(components.state_dict())
    assert restored.history == components.history


def test_parts_are_averaged_over_the_steps_of_the_whole():
    components = Components()
    components.add("spatial", scalar(3.0), {"dc": scalar(1.0), "ce": scalar(2.0)})
    components.add("spatial", scalar(1.0), {"dc": scalar(1.0)})  # all voxels ignored: no cross entropy
    assert components.close_epoch(0) == {"epoch": 0, "spatial": 2, "dc": 1, "ce": 1}


def test_what_the_parts_leave_is_told():
    components = Components()
    components.add("spatial", scalar(3.0), {"dc": scalar(1.0), "ce": scalar(0.5)})
    assert components.close_epoch(0)["other"] == 1.5
    assert components.parts == ["dc", "ce", "other"]


def test_a_part_named_like_a_column_of_ours_does_not_take_it():
    components = Components()
    components.add("spatial", scalar(3.0), {"spatial": scalar(1.0), "feature": scalar(2.0)})
    assert components.close_epoch(0) == {"epoch": 0, "spatial": 3, "part_spatial": 1, "part_feature": 2}


def test_the_latest_step_is_known():
    components = Components()
    components.add("spatial", scalar(3.0), {"dc": scalar(3.0)})
    components.add("spatial", scalar(1.0))
    assert components.latest == {"spatial": scalar(1.0)}


def test_many_small_values_do_not_lose_digits():
    components = Components()
    for _ in range(10_000):
        components.add("spatial", scalar(0.1))
    assert components.close_epoch(0)["spatial"] == pytest.approx(float(scalar(0.1)), rel=1e-12)


def test_the_history_of_another_version_is_taken_up():
    components = Components()
    components.load_state_dict({"_extra_state": {"history": [{"epoch": 0.0, "spatial": 1.0}]}})
    components.add("spatial", scalar(1.0), {"dc": scalar(1.0)})
    components.close_epoch(1)
    assert [row["epoch"] for row in components.history] == [0, 1]


def test_the_last_epoch_of_a_folder(tmp_path):
    assert last_epoch(tmp_path) is None
    components = Components()
    for epoch in range(3):
        components.close_epoch(epoch)
    components.write(tmp_path)
    assert last_epoch(tmp_path) == 2
    (tmp_path / CSV_NAME).write_text("something else")
    assert last_epoch(tmp_path) is None


def on_rank(rank: int) -> list[dict[str, float]]:
    """Rank 1 has only ignored voxels: nnU-Net's loss leaves out cross entropy, and a feature term comes before it."""
    components = Components()
    parts = {"dc": scalar(1.0), "ce": scalar(3.0)} if rank == 0 else {"dc": scalar(2.0)}
    components.add("spatial", torch.stack(list(parts.values())).sum(), parts)
    if rank == 1:
        components.add("feature", scalar(7.0))
    rows = [components.close_epoch(0)]
    if rank == 0:
        components.add("spatial", scalar(1.0))
    return [*rows, components.close_epoch(1)]


def test_ranks_with_different_parts_neither_hang_nor_mix_them(tmp_path):
    first, second = run_on_two_ranks(on_rank, tmp_path)
    assert first == second
    assert first[0] == {"epoch": 0, "spatial": 3, "dc": 1.5, "ce": 1.5, "feature": 7}
    assert first[1] == {"epoch": 1, "spatial": 1}
