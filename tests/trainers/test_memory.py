from __future__ import annotations

import pytest
import torch

from nnunet_fess.trainers.memory import PreviousBatch, Queue


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
    assert torch.equal(restored.content["embedding"], memory.content["embedding"])
    assert restored.rejected == 1


def rows(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None].expand(-1, 3)


def test_a_new_queue_has_nothing_to_recall():
    assert Queue(4).recall() is None


def test_a_full_queue_forgets_the_oldest():
    queue = Queue(3)
    queue.store(rows(1, 2), torch.tensor([1, 2]))
    queue.store(rows(3, 4), torch.tensor([3, 4]))
    embeddings, labels = queue.recall()
    assert torch.equal(embeddings, rows(2, 3, 4))
    assert labels.tolist() == [2, 3, 4]


def test_more_rows_than_the_queue_holds_leave_the_last():
    queue = Queue(2)
    queue.store(rows(1, 2, 3), torch.tensor([1, 2, 3]))
    assert torch.equal(queue.recall()[0], rows(2, 3))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_a_queue_counts_non_finite_rows_and_does_not_store_them(bad):
    queue = Queue(4)
    queue.store(rows(1, bad, 3), torch.tensor([1, 2, 3]))
    assert queue.rejected == 1
    assert queue.recall()[1].tolist() == [1, 3]


def test_what_a_queue_stores_has_no_graph():
    queue = Queue(4)
    queue.store(torch.ones(1, 3, requires_grad=True) * 2, torch.tensor([1]))
    assert not queue.recall()[0].requires_grad


def test_a_queue_survives_a_checkpoint(tmp_path):
    queue, restored = Queue(3), Queue(3)
    queue.store(rows(1, 2, 3, 4), torch.tensor([1, 2, 3, 4]))
    torch.save(queue.state_dict(), tmp_path / "state.pth")
    restored.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=False))
    for memory in (queue, restored):
        memory.store(rows(5), torch.tensor([5]))
    assert torch.equal(restored.recall()[0], queue.recall()[0])
    assert restored.recall()[1].tolist() == [3, 4, 5]
