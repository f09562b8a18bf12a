"""Every loss on two gloo processes that hold half of a batch each, against one process with the whole batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
import torch
from losses.every_loss import classes, every_loss
from torch import Tensor, nn

from nnunet_fess import losses
from nnunet_fess.losses.distributed import max_over_ranks, sum_over_ranks
from nnunet_fess.testing.ranks import run_on_two_ranks
from nnunet_fess.testing.skeleton import four_samples

KINDS = ("labels", "two labels", "regions")


def makers() -> dict[str, Callable[..., nn.Module]]:
    """Every loss, with Dice over the batch where it has a choice: a ratio per sample is no rank's business."""
    whole = {cls.__name__: {"batch_dice": True} for cls in classes() if "batch_dice" in inspect.signature(cls).parameters}
    return {
        name: lambda make=make, name=name, **kw: make(**whole.get(name.split()[0], {}) | kw)
        for name, make in every_loss().items()
        if "batch_dice" not in name and "FESS" not in name  # FESS's embeddings are tested by themselves, below
    }


def results(half: slice, distributed: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """Loss and gradient by name, of a part of the batch."""
    found = {}
    for kind in KINDS:
        logits, target = (x[half].clone() for x in four_samples(kind))
        for name, make in makers().items():
            value = make(ignore_label=9, distributed=distributed)(logits.requires_grad_(), target)
            found[f"{name}, {kind}"] = value.detach(), torch.autograd.grad(value, logits)[0]
    present, previous = (x[half].clone() for x in (four_samples("labels")[0], four_samples("labels")[0].flip(0)))
    value = losses.FESSContrastiveLoss(0.2, 1.0, distributed=distributed)(present.requires_grad_(), previous)
    found["contrastive"] = value.detach(), torch.autograd.grad(value, present)[0]
    return found


def half_of_the_batch(rank: int) -> dict[str, tuple[Tensor, Tensor]]:
    return results(slice(2 * rank, 2 * rank + 2), distributed=True)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, tuple[Tensor, Tensor]]]:
    return run_on_two_ranks(half_of_the_batch, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def one_process() -> dict[str, tuple[Tensor, Tensor]]:
    return results(slice(0, 4), distributed=False)


@pytest.mark.parametrize(
    "name", [*(f"{name}, {kind}" for name in makers() for kind in ("labels", "two labels", "regions")), "contrastive"]
)
def test_two_ranks_have_loss_and_gradient_of_one_process_with_the_whole_batch(two_ranks, one_process, name):
    value, gradient = one_process[name]
    values, gradients = zip(*(rank[name] for rank in two_ranks), strict=True)
    assert torch.allclose(torch.stack(values), value)
    assert torch.allclose(torch.cat(gradients) / 2, gradient), "DDP averages over the ranks"


def test_alone_the_sum_is_the_value_itself():
    values = torch.ones(3, requires_grad=True)
    assert sum_over_ranks(values) is values
    assert max_over_ranks(values.max()) == 1
