"""What every loss of logits against a target shares: arguments, the target, its maps, and the components by name.

Two families stand on it: `SumsLoss`, a formula on sums over voxels, and `VoxelLoss`, a formula on the voxels themselves.
"""

from __future__ import annotations

from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from nnunet_fess.losses.blocks import undivided
from nnunet_fess.losses.target import Target, TargetKind, check_target_kind, parse_target


class Common(TypedDict, total=False):
    """The arguments of every `SpatialLoss`, for those that pass them on."""

    ignore_label: int | None
    distributed: bool
    target_kind: TargetKind


class SpatialLoss(nn.Module):
    """A loss of logits against a target: the sum of its components.

    Args:
        ignore_label: label of the voxels that do not count (label maps; regions bring a mask as last channel).
        distributed: sum over the ranks of torch.distributed, if that is initialised, so that loss and gradient are those
            of one process with the whole batch.
        target_kind: "labels", "regions" or "onehot"; "auto": what shape and values say, see `parse_target`.

    Shape:
        net_output (B, C, *spatial) logits in any floating dtype, 2-D or 3-D. target in any dtype: (B, 1, *spatial) labels
        (softmax; sigmoid if C = 1), (B, C, *spatial) regions (sigmoid) or one-hot labels (softmax), or (B, C + 1, *spatial)
        the same and, as last channel, the mask of ignored voxels. Result: scalar >= 0, float32 (float64 for float64 logits).

    Raises:
        ValueError: ill shapes or labels.

    Attributes:
        latest: the components' values, without gradient, of the latest call.
    """

    def __init__(self, *, ignore_label: int | None = None, distributed: bool = False, target_kind: TargetKind = "auto") -> None:
        super().__init__()
        check_target_kind(target_kind)
        self.target_kind = target_kind
        self.ignore_label = ignore_label
        self.distributed = distributed
        self.latest: dict[str, Tensor] = {}

    def forward(self, net_output: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (B, C, *spatial) against a target."""
        with undivided():
            parsed = parse_target(net_output, target, self.ignore_label, self.target_kind)
        return self.of_target(net_output, parsed)

    def of_target(self, net_output: Tensor, target: Target) -> Tensor:
        """The loss of logits against a target that was parsed before."""
        with torch.no_grad():
            maps = self.maps(target)
        components = self.components(net_output, target, maps)
        self.latest = {name: value.detach() for name, value in components.items()}
        return torch.stack(list(components.values())).sum()

    def maps(self, target: Target) -> dict[str, Tensor]:
        """What the loss draws of the target alone, by name; nothing if all voxels are alike to it.

        Returns:
            each (B, 1, *spatial), or where the channels differ (B, C, *spatial), or without that of the background, on the
            target's device, without gradient.
            `nnunet_fess preview` shows them.
        """
        return {}

    def voxel_weight(self, maps: dict[str, Tensor]) -> Tensor | None:
        """Weight of every voxel's cross entropy in this loss, given its maps; None: 1."""
        return maps.get("weight")

    def components(self, net_output: Tensor, target: Target, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The scalars that the loss is the sum of, by name."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """The settings, for logs."""
        settings: dict[str, Any] = {k: v for k, v in vars(self).items() if not k.startswith("_")}
        return ", ".join(f"{k}={v!r}" for k, v in settings.items() if k not in ("training", "latest"))
