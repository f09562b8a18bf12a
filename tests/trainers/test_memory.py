from __future__ import annotations

import pytest
import torch

from nnunet_fess.trainers.memory import BalancedQueue, ClassPrototypes, PreviousBatch, Queue


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


def test_the_steps_are_counted_and_survive_a_checkpoint():
    queue, restored = Queue(3), Queue(3)
    for _ in range(2):
        queue.store(rows(1), torch.tensor([1]))
    restored.load_state_dict(queue.state_dict())
    assert restored.steps == 2


def test_a_checkpoint_of_before_the_steps_were_counted_loads():
    queue = Queue(3)
    queue.set_extra_state({"content": {}, "rejected": 4})
    assert (queue.rejected, queue.steps) == (4, 0)


def test_a_queue_keeps_further_columns_with_their_rows():
    queue = Queue(2)
    queue.store(rows(1, float("nan"), 3, 4), torch.tensor([1, 2, 3, 4]), cases=torch.tensor([11, 12, 13, 14]))
    assert queue.content["labels"].tolist() == [3, 4]
    assert queue.content["cases"].tolist() == [13, 14]


def test_a_balanced_queue_remembers_the_latest_of_each_label():
    queue = BalancedQueue(4)
    queue.store(rows(1, 2), torch.tensor([7, 8]))
    for value in (3, 4, 5, 6):
        queue.store(rows(value), torch.tensor([7]))
    embeddings, labels = queue.recall()
    assert torch.equal(embeddings, rows(2, 5, 6))
    assert labels.tolist() == [8, 7, 7]


def test_a_new_label_takes_its_share_of_a_balanced_queue():
    queue = BalancedQueue(6)
    queue.store(rows(*range(6)), torch.tensor([0] * 6))
    assert len(queue.recall()[0]) == 6
    queue.store(rows(6), torch.tensor([1]))
    assert torch.equal(queue.recall()[0], rows(3, 4, 5, 6))


def test_a_balanced_queue_has_one_of_each_label_however_small_it_is():
    queue = BalancedQueue(1)
    queue.store(rows(1, 2, 3), torch.tensor([0, 1, 1]))
    assert queue.recall()[1].tolist() == [0, 1]


def test_a_balanced_queue_takes_the_latest_of_a_longer_one():
    longer, shorter = BalancedQueue(6), BalancedQueue(2)
    longer.store(rows(1, 2, 3, 4), torch.tensor([0, 1, 0, 1]))
    shorter.load_state_dict(longer.state_dict())
    assert torch.equal(shorter.recall()[0], rows(3, 4))


def test_an_empty_step_leaves_a_balanced_queue_empty():
    queue = BalancedQueue(2)
    queue.store(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
    queue.store(rows(1), torch.tensor([1]))
    assert queue.recall()[1].tolist() == [1]


def unit(*values: float) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor([values], dtype=torch.float32))


def test_there_is_no_prototype_before_the_first_step():
    assert ClassPrototypes(3, 0.9).recall() is None


def test_the_first_prototype_of_a_class_is_its_mean_direction():
    memory = ClassPrototypes(3, 0.9)
    memory.store(torch.tensor([[4.0, 0.0], [0.0, 1.0], [0.0, -3.0]]), torch.tensor([2, 2, 0]))
    vectors, classes = memory.recall()
    assert classes.tolist() == [0, 2]
    torch.testing.assert_close(vectors, torch.cat([unit(0, -1), unit(1, 1)]))


def test_a_prototype_moves_by_the_momentum_and_stays_a_unit_vector():
    memory = ClassPrototypes(2, 0.75)
    memory.store(unit(1, 0), torch.tensor([1]))
    memory.store(5 * unit(0, 1), torch.tensor([1]))
    torch.testing.assert_close(memory.recall()[0], unit(0.75, 0.25))


def test_the_prototype_of_a_class_that_is_absent_stays():
    memory = ClassPrototypes(2, 0.5)
    memory.store(torch.cat([unit(1, 0), unit(1, 1)]), torch.tensor([0, 1]))
    memory.store(unit(0, 1), torch.tensor([0]))
    torch.testing.assert_close(memory.recall()[0], torch.cat([unit(1, 1), unit(1, 1)]))


def test_prototypes_count_non_finite_rows_and_do_not_take_them():
    memory = ClassPrototypes(2, 0.5)
    memory.store(torch.tensor([[1.0, 0.0], [float("nan"), 0.0], [0.0, float("inf")]]), torch.tensor([0, 0, 1]))
    assert memory.rejected == 2
    assert memory.recall()[1].tolist() == [0]
    assert torch.equal(memory.recall()[0], unit(1, 0))


def test_prototypes_have_no_graph_and_survive_a_checkpoint(tmp_path):
    memory, restored = ClassPrototypes(2, 0.5), ClassPrototypes(2, 0.5)
    memory.store(torch.ones(1, 3, requires_grad=True) * 2, torch.tensor([1]))
    assert not memory.recall()[0].requires_grad
    torch.save(memory.state_dict(), tmp_path / "state.pth")
    restored.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=False))
    for each in (memory, restored):
        each.store(rows(-1, 2), torch.tensor([1, 0]))
    assert all(torch.equal(one, other) for one, other in zip(memory.recall(), restored.recall(), strict=True))
