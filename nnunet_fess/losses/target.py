"""What a target tensor means: labels or regions, and which voxels count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Convention = Literal["paper", "released"]


@dataclass(frozen=True)
class Target:
    """A checked target.

    Attributes:
        classes: label map (B, 1, *spatial) int64 where ignored voxels hold 0, or regions (B, C, *spatial) bool, False there.
        valid: (B, 1, *spatial) bool, False where ignored; None if every voxel counts.
        is_label_map: True: classes are disjoint, the network's channels compete (softmax), class 0 is background.
            False: channels are regions of their own (sigmoid) and may overlap.
        num_classes: channels C of the network's output.
    """

    classes: Tensor
    valid: Tensor | None
    is_label_map: bool
    num_classes: int


def parse_target(net_output: Tensor, target: Tensor, ignore_label: int | None = None) -> Target:
    """Tell label maps from regions by their shapes, separate the ignored voxels, and check the values.

    Args:
        net_output: logits (B, C, *spatial), two or three spatial axes.
        target: any dtype, one of
            (B, 1, *spatial) with C >= 2, a label map of integers 0 … C - 1 and `ignore_label`;
            (B, 1, *spatial) with C == 1, a mask of 0, 1 and `ignore_label`;
            (B, C, *spatial), regions of 0 and 1, overlapping or not;
            (B, C + 1, *spatial), regions and, as last channel, the mask of ignored voxels (1 = ignored).
        ignore_label: the label of voxels that do not count, if any.

    Raises:
        ValueError: shapes that fit none of these; fractional values; labels below 0 or above C - 1.
    """
    if net_output.ndim not in (4, 5):
        raise ValueError(f"net_output must be (B, C, *spatial) in 2-D or 3-D. Got: {tuple(net_output.shape)}")
    batch, channels, *spatial = net_output.shape
    if target.ndim != net_output.ndim or target.shape[0] != batch or list(target.shape[2:]) != spatial:
        raise ValueError(
            f"target must have the batch size and the spatial shape of net_output {tuple(net_output.shape)}. "
            f"Got: {tuple(target.shape)}"
        )
    found = target.shape[1]
    if found == 1:
        valid = None if ignore_label is None else target != ignore_label
        top = max(channels - 1, 1)
        labels = check_labels(target if valid is None else target.masked_fill(~valid, 0), top)
        if channels == 1:
            return Target(labels.bool(), valid, is_label_map=False, num_classes=1)
        return Target(labels.long(), valid, is_label_map=True, num_classes=channels)
    if found == channels:
        return Target(check_labels(target, 1).bool(), None, is_label_map=False, num_classes=channels)
    if found == channels + 1:
        flags = check_labels(target, 1).bool()
        valid = ~flags[:, -1:]
        return Target(flags[:, :-1] & valid, valid, is_label_map=False, num_classes=channels)
    raise ValueError(
        f"target must have 1 channel (label map), {channels} (regions) or {channels + 1} (regions and ignore mask) "
        f"for a net_output of {channels} channels. Got: {tuple(target.shape)}"
    )


def check_labels(labels: Tensor, top: int | None = None) -> Tensor:
    """The labels in an integer dtype (bool stays bool), if all are whole numbers in 0 … top.

    One look at the values, hence one synchronisation on a GPU; none while torch.compile traces, which cannot look.

    Raises:
        ValueError: a fractional, negative or too large label, which is named.
    """
    if labels.dtype == torch.bool:
        return labels
    whole = labels.long() if labels.is_floating_point() else labels
    if torch.compiler.is_compiling() or labels.numel() == 0:
        return whole
    low, high = whole.aminmax()
    fractional = (whole != labels).any() if labels.is_floating_point() else torch.zeros_like(low)
    lowest, highest, bad = torch.stack((low.long(), high.long(), fractional.long())).tolist()
    if bad:
        raise ValueError(f"labels must be whole numbers. Got: {labels[whole != labels][0].item()}")
    if lowest < 0:
        raise ValueError(f"labels must not be negative (is the ignore label set?). Got: {lowest}")
    if top is not None and highest > top:
        raise ValueError(f"labels must not exceed {top} (is the ignore label set?). Got: {highest}")
    return whole


def check_convention(convention: str) -> None:
    """Raise ValueError unless the convention is known."""
    if convention not in get_args(Convention):
        raise ValueError(f"convention must be one of {', '.join(get_args(Convention))}. Got: {convention!r}")
