from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from losses.rank_of_two import results

from nnunet_fess.losses.distributed import max_over_ranks, sum_over_ranks


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """What either of two gloo processes found on its half of the batch."""
    folder = tmp_path_factory.mktemp("ranks")
    script = Path(__file__).with_name("rank_of_two.py")
    outputs = [folder / f"{rank}.pt" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(folder / "meeting_point"), str(output)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank, output in enumerate(outputs)
    ]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    return [torch.load(output) for output in outputs]


ONE_PROCESS = results(slice(0, 4), distributed=False)


@pytest.mark.parametrize("name", ONE_PROCESS)
def test_two_ranks_have_loss_and_gradient_of_one_process_with_the_whole_batch(two_ranks, name):
    value, gradient = ONE_PROCESS[name]
    values, gradients = zip(*(rank[name] for rank in two_ranks), strict=True)
    assert torch.allclose(torch.stack(values), value)
    assert torch.allclose(torch.cat(gradients) / 2, gradient), "DDP averages over the ranks"


def test_alone_the_sum_is_the_value_itself():
    values = torch.ones(3, requires_grad=True)
    assert sum_over_ranks(values) is values
    assert max_over_ranks(values.max()) == 1
