"""The mean feature vector of every class of a patch, under the ground truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nnunet_fess.losses.feature.unit import products
from nnunet_fess.losses.target import TargetKind, parse_target

# Regions are told apart by which of them a voxel lies in: 2 to the power of their number.
MOST_REGIONS = 8


def class_means(features: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    r"""Features pooled per class and sample.

    .. math:: e_{bk} = \frac{\sum_c n_{bkc} z_{bc}}{\sum_c n_{bkc}}

    with c over the cells of the feature map and n_{bkc} the number of voxels of class k in cell c: no small structure is
    lost, as it would be if labels were sampled at the feature map's resolution.

    Args:
        features: z, (B, C, *cells), any floating dtype.
        classes: (B, *voxels) integers; 0 … num_classes - 1 count, all other voxels (ignored ones) do not. An axis of a feature
            map has at most as many cells as voxels.
        num_classes: K.

    Returns:
        embeddings (N, C) in float32 (float64 for float64 features) and their classes (N,), one row for each class that is in
        a sample; classes that are absent take no part.

    Raises:
        ValueError: shapes that do not fit.
    """
    if features.ndim != classes.ndim + 1 or len(features) != len(classes):
        raise ValueError(
            "features must be (B, C, *cells) and classes (B, *voxels) with the same number of axes. "
            f"Got: {tuple(features.shape)} and {tuple(classes.shape)}"
        )
    batch, cells = len(features), math.prod(features.shape[2:])
    counts = _counts(classes, features.shape[2:], num_classes).view(batch, num_classes, cells)
    flat = features.flatten(2)
    with torch.autocast(device_type=features.device.type, enabled=False):
        flat = flat if flat.dtype == torch.float64 else flat.float()
        sums = products(counts.to(flat), flat)
        sizes = counts.sum(2)
        sample, label = sizes.nonzero(as_tuple=True)
        return sums[sample, label] / sizes[sample, label, None], label


def disjoint_classes(
    net_output: Tensor, target: Tensor, ignore_label: int | None = None, kind: TargetKind = "auto"
) -> tuple[Tensor, int]:
    """A target in nnU-Net's shapes as one class per voxel.

    Args:
        net_output: logits (B, C, *voxels); only its shape counts.
        target: labels or regions, see `nnunet_fess.losses.target.parse_target`. Regions overlap, so that a voxel's class is the
            set of regions it lies in: of "whole" and "core", 0 is neither, 1 whole alone, 3 both.
        ignore_label: of label maps.
        kind: what the target is.

    Returns:
        classes (B, *voxels), -1 where ignored, and their number K.

    Raises:
        ValueError: ill shapes or labels; more than 8 regions.
    """
    parsed = parse_target(net_output, target, ignore_label, kind)
    if parsed.is_label_map:
        classes, number = parsed.classes[:, 0].long(), parsed.num_classes
    else:
        regions = parsed.classes.shape[1]
        if regions > MOST_REGIONS:
            raise ValueError(f"a class-wise feature term takes at most {MOST_REGIONS} regions. Got: {regions}")
        classes, number = (parsed.classes * _bits(parsed.classes)).sum(1), 2**regions
    return classes if parsed.valid is None else classes.masked_fill(~parsed.valid[:, 0], -1), number


def misclassified(net_output: Tensor, classes: Tensor, kind: TargetKind) -> Tensor:
    """Where the network's output is another class than the true one.

    Args:
        net_output: logits (B, C, *voxels).
        classes: (B, *voxels) as of `disjoint_classes`.
        kind: what the target is; "regions" for logits of regions, else those of labels. Equal logits are no mistake.

    Returns:
        (B, *voxels), boolean; where the class is -1 it says nothing.
    """
    if kind == "regions":
        return ((net_output > 0) * _bits(net_output)).sum(1) != classes
    own = net_output.gather(1, classes.clamp_min(0)[:, None])[:, 0]
    return own < net_output.amax(1)


def _bits(channels: Tensor) -> Tensor:
    """2 to the power of each channel's number, (C, 1, …) for (B, C, *voxels)."""
    return 2 ** torch.arange(channels.shape[1], device=channels.device).view(-1, *[1] * (channels.ndim - 2))


def _counts(classes: Tensor, cells: Sequence[int], num_classes: int) -> Tensor:
    """(B·K·cells,) voxels of each class in each cell."""
    device = classes.device
    bins = torch.zeros((), dtype=torch.long, device=device)
    for voxels, count in zip(classes.shape[1:], cells, strict=True):
        along = torch.arange(voxels, device=device) * count // voxels
        bins = bins[..., None] * count + along
    total = math.prod(cells)
    sample = torch.arange(len(classes), device=device).view(-1, *[1] * (classes.ndim - 1))
    bins = (sample * num_classes + classes.long()) * total + bins
    size = len(classes) * num_classes * total
    bins = torch.where((classes >= 0) & (classes < num_classes), bins, size)  # one more bin, for what does not count
    counts = torch.zeros(size + 1, dtype=torch.long, device=device)
    return counts.scatter_add_(0, bins.flatten(), torch.ones_like(bins.flatten()))[:-1]
