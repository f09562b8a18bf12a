"""What a target tensor means: labels or regions, and which voxels count."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

Convention = Literal["paper", "released"]
TargetKind = Literal["auto", "labels", "regions", "onehot"]
# Taken out once: torch.compile before 2.5 cannot look into typing.
_CONVENTIONS, _KINDS = get_args(Convention), get_args(TargetKind)

_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)
_ADVICE = {
    "list": " (deep supervision gives a list: wrap the loss in nnU-Net's DeepSupervisionWrapper, or call it scale by scale)",
    "tuple": " (deep supervision gives a tuple: wrap the loss in nnU-Net's DeepSupervisionWrapper, or call it scale by scale)",
    "ndarray": " (torch.from_numpy makes one of an array)",
}


@dataclass(frozen=True)
class Target:
    """A checked target.

    Attributes:
        classes: label map (B, 1, *spatial) uint8 (int64 with more than 256 classes) where ignored voxels hold 0, or regions
            (B, C, *spatial) bool, False there.
        valid: (B, 1, *spatial) bool, False where ignored; None if every voxel counts.
        is_label_map: True: classes are disjoint, the network's channels compete (softmax), class 0 is background.
            False: channels are regions of their own (sigmoid) and may overlap.
        num_classes: channels C of the network's output.
    """

    classes: Tensor
    valid: Tensor | None
    is_label_map: bool
    num_classes: int

    @property
    def one_hot(self) -> Tensor:
        """Bool (B, C, *spatial): which voxels are of each class or region; an ignored voxel is background, in no region."""
        if not self.is_label_map:
            return self.classes
        numbers = torch.arange(self.num_classes, device=self.classes.device)
        return self.classes == numbers.view(-1, *[1] * (self.classes.ndim - 2))

    @property
    def foreground(self) -> Tensor:
        """`one_hot` without the background of a label map: bool (B, C - 1, *spatial); of regions all."""
        return self.one_hot[:, 1:] if self.is_label_map else self.classes


def parse_target(net_output: Tensor, target: Tensor, ignore_label: int | None = None, kind: TargetKind = "auto") -> Target:
    """Tell labels, regions and one-hot labels apart, separate the ignored voxels, and check the values.

    Args:
        net_output: logits (B, C, *spatial), two or three spatial axes.
        target: any real dtype, one of
            (B, 1, *spatial) with C >= 2, a label map of integers 0 … C - 1 and `ignore_label`;
            (B, 1, *spatial) with C == 1, a mask of 0, 1 and `ignore_label`;
            (B, C, *spatial), regions of 0 and 1, overlapping or not, or one-hot labels;
            (B, C + 1, *spatial), the same and, as last channel, the mask of ignored voxels (1 = ignored).
        ignore_label: the label of voxels that do not count, if any.
        kind: what the target is: "labels", "regions" or "onehot". "auto" goes by the number of channels; C of them are
            regions if they are bool, as nnU-Net's are, or if they do not sum to 1 wherever a voxel counts, and else taken for
            one-hot, as MONAI's are, with a warning: of a patch that lies in one region alone nobody can tell.

    Raises:
        ValueError: not a tensor, no voxels, shapes that fit none of these; fractional values; labels below 0 or above
            C - 1; channels that are not one-hot.
    """
    _check_tensor("net_output", net_output)
    target = readable(target)
    check_target_kind(kind)
    if net_output.ndim not in (4, 5):
        raise ValueError(f"net_output must be (B, C, *spatial) in 2-D or 3-D. Got: {tuple(net_output.shape)}")
    if not net_output.is_floating_point():
        raise ValueError(f"net_output must be logits in a floating dtype. Got: {net_output.dtype}")
    if net_output.numel() == 0:
        raise ValueError(f"net_output must have samples, channels and voxels. Got: {tuple(net_output.shape)}")
    batch, channels, *spatial = net_output.shape
    if target.shape == (batch, *spatial):
        raise ValueError(
            f"target must have a channel axis, as in target.unsqueeze(1), for a net_output {tuple(net_output.shape)}. "
            f"Got: {tuple(target.shape)}"
        )
    if target.ndim != net_output.ndim or target.shape[0] != batch or list(target.shape[2:]) != list(spatial):
        raise ValueError(
            f"target must have the batch size and the spatial shape of net_output {tuple(net_output.shape)}. "
            f"Got: {tuple(target.shape)}"
        )
    if target.device != net_output.device and net_output.device.type != "meta":  # of meta, the shape alone is asked for
        raise ValueError(f"target must be on the device of net_output, {net_output.device}. Got: {target.device}")
    masks = target.shape[1]
    if masks == 1 and (channels == 1 or kind in ("auto", "labels")):
        valid = None if ignore_label is None else target != ignore_label
        return _labels(target, channels, valid)
    if masks not in (channels, channels + 1) or kind == "labels" or (kind == "onehot" and channels == 1):
        wanted = f"1 channel (label map), {channels} (regions or one-hot) or {channels + 1} (the same and ignore mask)"
        raise ValueError(
            f"target must have {wanted if kind == 'auto' else f'the channels of target_kind={kind!r}'} "
            f"for a net_output of {channels} channels. Got: {tuple(target.shape)}"
        )
    flags = check_labels(target, 1).bool()
    valid = ~flags[:, channels:] if masks > channels else None
    flags = flags[:, :channels]
    unsaid = kind == "auto" and target.dtype != torch.bool and channels > 1
    if kind == "onehot" or (unsaid and _one_each(flags, valid)):
        if kind == "auto":
            warnings.warn(
                f"a target {tuple(target.shape)} whose channels sum to 1 everywhere is taken for one-hot labels. Say "
                'target_kind="onehot" if it is, or target_kind="regions" (or give bool) if it is not.',
                stacklevel=2,
            )
        elif not torch.compiler.is_compiling() and not _one_each(flags, valid):
            raise ValueError("target must be one-hot: at every voxel that counts, one channel. Got: none, or more than one")
        number = torch.arange(channels, device=flags.device).view(-1, *[1] * len(spatial))
        return _labels((flags * number).sum(1, keepdim=True), channels, valid)
    return Target(flags if valid is None else flags & valid, valid, is_label_map=False, num_classes=channels)


def _labels(target: Tensor, channels: int, valid: Tensor | None) -> Target:
    labels = check_labels(target if valid is None else target.masked_fill(~valid, 0), max(channels - 1, 1))
    if channels == 1:
        return Target(labels.bool(), valid, is_label_map=False, num_classes=1)
    small = torch.uint8 if channels <= 256 else torch.int64  # a byte per voxel is a quarter of the time in what follows
    return Target(labels.to(small), valid, is_label_map=True, num_classes=channels)


def readable(target: Tensor) -> Tensor:
    """The target in a dtype that torch can compare, which uint16, uint32, uint64 and the floats of 8 bits are not.

    Raises:
        ValueError: not a dense tensor, complex numbers.
    """
    _check_tensor("target", target)
    if target.is_complex():
        raise ValueError(f"target must have a real dtype. Got: {target.dtype}")
    if target.layout != torch.strided:
        raise ValueError(f"target must be dense, as of target.to_dense(). Got: {target.layout}")
    if target.is_floating_point() and target.element_size() == 1:
        return target.float()
    if target.dtype in _UNSIGNED:
        return target.to(torch.int32 if target.dtype == torch.uint16 else torch.int64)
    return target


def _check_tensor(name: str, given: object) -> None:
    found = type(given).__name__
    if not isinstance(given, Tensor):
        raise ValueError(f"{name} must be one torch.Tensor{_ADVICE.get(found, '')}. Got: {found}")


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
        raise ValueError(
            f"labels must be whole numbers, not probabilities or smoothed labels. Got: {labels[whole != labels][0].item()}"
        )
    if lowest < 0:
        raise ValueError(f"labels must not be negative (is the ignore label set?). Got: {lowest}")
    if top is not None and highest > top:
        raise ValueError(f"labels must not exceed {top} (is the ignore label set?). Got: {highest}")
    return whole


def _one_each(flags: Tensor, valid: Tensor | None = None) -> bool:
    """Whether every voxel that counts has one channel."""
    if torch.compiler.is_compiling():
        raise ValueError(
            "target_kind must be given under torch.compile, which cannot look whether channels are regions or one-hot. "
            'Got: "auto", and channels that are not bool'
        )
    single = flags.sum(1, keepdim=True) == 1
    return bool((single if valid is None else single | ~valid).all())


def check_convention(convention: str) -> None:
    """Raise ValueError unless the convention is known."""
    if convention not in _CONVENTIONS:
        raise ValueError(f"convention must be one of {', '.join(_CONVENTIONS)}. Got: {convention!r}")


def check_target_kind(kind: str) -> None:
    """Raise ValueError unless the kind of target is known."""
    if kind not in _KINDS:
        raise ValueError(f"target_kind must be one of {', '.join(_KINDS)}. Got: {kind!r}")
