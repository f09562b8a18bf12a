from __future__ import annotations

import threading

import pytest
import torch

from nnunet_fess.losses import CWCDLoss
from nnunet_fess.losses.blocks import blocks, in_blocks, undivided


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("voxels", [1, 1024, 40_000])
@pytest.mark.parametrize("channels", [1, 4, 40])
def test_blocks_cover_every_voxel_once(voxels, channels):
    seen = torch.zeros(3, channels, voxels)
    for sample, part in blocks(seen, channels):
        seen[sample, ..., part] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("number", [1, 2, 4])
def test_results_are_in_order_whatever_the_number_of_threads(threads, number):
    threads(number)
    where = [(0, slice(i, i + 1)) for i in range(50)]
    assert in_blocks(lambda index: index[1].start, where) == list(range(50))


def test_an_error_in_a_thread_reaches_the_caller_and_no_thread_is_left(threads):
    threads(3)
    before = threading.active_count()

    def work(index):
        raise ArithmeticError(f"block {index[1].start}")

    with pytest.raises(ArithmeticError, match="block"):
        in_blocks(work, [(0, slice(i, i + 1)) for i in range(50)])
    assert threading.active_count() == before


@pytest.mark.parametrize("channels", [2, 3])
def test_threads_change_nothing(threads, channels):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, channels, 40, 40, 40, generator=generator)
    target = torch.randint(0, channels, (2, 1, 5, 5, 5), generator=generator)
    target = target.repeat_interleave(8, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    found = []
    for number in (1, 2, 2):
        threads(number)
        x = logits.clone().requires_grad_()
        value = CWCDLoss()(x, target)
        found.append((value.detach(), torch.autograd.grad(value, x)[0]))
    for value, gradient in found[1:]:
        assert torch.allclose(value, found[0][0], rtol=1e-6)
        assert torch.allclose(gradient, found[0][1], rtol=1e-5, atol=1e-12)
    assert torch.equal(found[1][1], found[2][1]), "repeatable, whoever of the threads computes which block"


def test_operations_are_undivided_while_it_lasts_and_in_new_threads(threads):
    threads(3)
    seen = []
    with undivided():
        helper = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        helper.start()
        helper.join()
        seen.append(torch.get_num_threads())
    assert (seen, torch.get_num_threads()) == ([1, 1], 3)


def test_an_error_gives_the_threads_back(threads):
    threads(3)
    with pytest.raises(ArithmeticError), undivided():
        raise ArithmeticError
    assert torch.get_num_threads() == 3


def test_a_second_backward_pass_finds_what_the_first_found():
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    value = CWCDLoss()(x, torch.randint(0, 3, (2, 1, 8, 8)))
    first, second = (torch.autograd.grad(value, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
