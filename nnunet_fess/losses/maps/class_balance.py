"""Weights that give every class present the same share of a sum over voxels."""

from __future__ import annotations

import torch
from torch import Tensor

from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.target import Target


def class_balance(target: Target, distributed: bool) -> Tensor:
    """N / (K·n) of every voxel's class; for regions of its value in that channel. Ignored voxels are not counted."""
    classes, channels = target.classes.long(), 1 if target.is_label_map else target.classes.shape[1]
    values = target.num_classes if target.is_label_map else 2
    # One bin per channel and value; ignored voxels go to an extra one.
    offset = torch.arange(channels, device=classes.device).view(-1, *[1] * (classes.ndim - 2)) * values
    bins = classes + offset
    counted = bins if target.valid is None else bins.masked_fill(~target.valid, channels * values)
    number = torch.zeros(channels * values + 1, device=bins.device, dtype=torch.int64)
    number.scatter_add_(0, counted.flatten(), torch.ones_like(counted).flatten())
    number = number[:-1].double()
    number = (sum_over_ranks(number) if distributed else number).view(channels, values)
    present = (number > 0).sum(1, keepdim=True)
    weight = number.sum(1, keepdim=True) / (present * number).clamp_min(1)
    return weight.float().flatten().index_select(0, bins.flatten()).view_as(bins)
