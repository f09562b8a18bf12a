from __future__ import annotations

import pytest
import torch
from gloo import run_on_two_ranks

from nnunet_fess.losses.gather import gather_over_ranks


def gathered(rank: int, rows: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    own = rows[rank].requires_grad_()
    everything = gather_over_ranks(own)
    (everything**3).sum().backward()
    return everything.detach(), own.grad


@pytest.mark.parametrize("sizes", [(2, 2), (1, 3), (0, 2)])
def test_every_rank_has_all_rows_and_the_gradient_of_one_process(tmp_path, sizes):
    rows = [torch.randn(size, 3, dtype=torch.float64) for size in sizes]
    whole = torch.cat(rows).requires_grad_()
    (whole**3).sum().backward()
    results = run_on_two_ranks(gathered, tmp_path, [part.clone() for part in rows])
    assert all(torch.equal(everything, whole.detach()) for everything, _ in results)
    # DDP divides by the number of ranks.
    assert torch.allclose(torch.cat([gradient for _, gradient in results]) / 2, whole.grad)


def test_without_ranks_nothing_happens():
    rows = torch.randn(2, 3)
    assert gather_over_ranks(rows) is rows
