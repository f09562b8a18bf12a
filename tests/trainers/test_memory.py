from __future__ import annotations

import pytest
import torch

from nnunet_fess.trainers.memory import PreviousBatch


def test_there_is_nothing_before_the_first_step():
    assert PreviousBatch().recall(torch.ones(2, 3, 4)) is None


def test_recalls_what_was_stored_last():
    memory = PreviousBatch()
    memory.store(torch.zeros(2, 3, 4))
    memory.store(torch.ones(2, 3, 4))
    assert torch.equal(memory.recall(torch.zeros(2, 3, 4))[1], torch.ones(2, 3, 4))


def test_what_is_stored_has_no_graph():
    memory = PreviousBatch()
    memory.store(torch.ones(2, 3, 4, requires_grad=True) * 2)
    assert not memory.recall(torch.ones(2, 3, 4))[1].requires_grad


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_embedding_is_counted_and_not_stored(bad):
    memory = PreviousBatch()
    memory.store(torch.ones(2, 3, 4))
    memory.store(torch.full((2, 3, 4), bad))
    assert memory.rejected == 1
    assert torch.equal(memory.recall(torch.ones(2, 3, 4))[1], torch.ones(2, 3, 4))


@pytest.mark.parametrize(("present", "previous"), [(1, 3), (3, 1)])
def test_a_changed_batch_size_is_cut_to_the_smaller(present, previous):
    memory = PreviousBatch()
    memory.store(torch.ones(previous, 3, 4))
    now, then = memory.recall(torch.ones(present, 3, 4))
    assert now.shape == then.shape == (1, 3, 4)


def test_another_patch_size_is_nothing_to_compare_with():
    memory = PreviousBatch()
    memory.store(torch.ones(2, 3, 4))
    assert memory.recall(torch.ones(2, 3, 8)) is None


def test_the_state_survives_a_checkpoint(tmp_path):
    memory, restored = PreviousBatch(), PreviousBatch()
    memory.store(torch.randn(2, 3, 4))
    memory.store(torch.full((2, 3, 4), float("nan")))
    torch.save(memory.state_dict(), tmp_path / "state.pth")
    restored.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=False))
    assert torch.equal(restored.embedding, memory.embedding)
    assert restored.rejected == 1
