"""One of two processes, `python rank_of_two.py RANK MEETING_POINT OUT`: saves losses and gradients of its half of a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nnunet_fess import losses

SPATIAL: dict[str, Callable[..., nn.Module]] = {
    "CE": losses.CrossEntropyLoss,
    "Dice": lambda **kw: losses.DiceLoss(batch_dice=True, **kw),
    "Dice released": lambda **kw: losses.DiceLoss("released", batch_dice=True, **kw),
    "GDL": lambda **kw: losses.GDLoss(batch_dice=True, **kw),
    "CWCD": lambda **kw: losses.CWCDLoss(iterations=1, batch_dice=True, **kw),
}


def batch(kind: str) -> tuple[Tensor, Tensor]:
    """Logits (4, 3, 5, 5, 5) and a target; the halves have unequal numbers of ignored voxels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 3, 5, 5, 5, generator=generator, dtype=torch.float64)
    if kind == "regions":
        return logits, torch.rand(4, 4, 5, 5, 5, generator=generator) > 0.5
    labels = torch.randint(0, 3, (4, 1, 5, 5, 5), generator=generator)
    labels[:2, :, :3] = 9
    return logits, labels


def results(half: slice, distributed: bool) -> dict[str, tuple[Tensor, Tensor]]:
    """Loss and gradient by name, of a part of the batch."""
    found = {}
    for kind in ("labels", "regions"):
        logits, target = (x[half].clone() for x in batch(kind))
        for name, make in SPATIAL.items():
            value = make(ignore_label=9, distributed=distributed)(logits.requires_grad_(), target)
            found[f"{name} {kind}"] = value.detach(), torch.autograd.grad(value, logits)[0]
    present, previous = (x[half].clone() for x in (batch("labels")[0], batch("labels")[0].flip(0)))
    value = losses.FESSContrastiveLoss(0.2, 1.0, distributed=distributed)(present.requires_grad_(), previous)
    found["contrastive"] = value.detach(), torch.autograd.grad(value, present)[0]
    return found


if __name__ == "__main__":
    rank = int(sys.argv[1])
    dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
    torch.save(results(slice(2 * rank, 2 * rank + 2), distributed=True), sys.argv[3])
    dist.destroy_process_group()
