from __future__ import annotations

import pytest
import torch

from nnunet_fess.losses.feature.gather import gather_over_ranks, others_over_ranks
from nnunet_fess.testing.ranks import run_on_two_ranks

SIZES = [(2, 2), (1, 3), (0, 2)]


def rows_of_both(sizes: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, 3, dtype=torch.float64, generator=generator) for size in sizes]


def gathered(rank: int) -> dict[tuple[int, int], tuple[torch.Tensor, torch.Tensor]]:
    results = {}
    for sizes in SIZES:
        own = rows_of_both(sizes)[rank].requires_grad_()
        everything = gather_over_ranks(own)
        (everything**3).sum().backward()
        results[sizes] = everything.detach(), own.grad
    return results


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return run_on_two_ranks(gathered, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("sizes", SIZES)
def test_every_rank_has_all_rows(ranks, sizes):
    whole = torch.cat(rows_of_both(sizes))
    assert all(torch.equal(results[sizes][0], whole) for results in ranks)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_mean_gradient_is_that_of_one_process(ranks, sizes):
    whole = torch.cat(rows_of_both(sizes)).requires_grad_()
    (whole**3).sum().backward()
    assert torch.allclose(torch.cat([results[sizes][1] for results in ranks]) / len(ranks), whole.grad)


def test_without_ranks_nothing_happens():
    rows = torch.randn(2, 3)
    assert gather_over_ranks(rows) is rows


def counted(rank: int) -> dict[tuple[int, int], tuple[int, int]]:
    return {sizes: others_over_ranks(rows_of_both(sizes)[rank]) for sizes in SIZES}


def test_every_rank_knows_how_many_rows_come_before_and_after_its_own(tmp_path):
    first, second = run_on_two_ranks(counted, tmp_path)
    assert first == {sizes: (0, sizes[1]) for sizes in SIZES}
    assert second == {sizes: (sizes[0], 0) for sizes in SIZES}
    assert others_over_ranks(torch.ones(3)) == (0, 0)
