"""The family of losses that look at every voxel: focal, the hardest voxels, differences weighted by distance."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.probabilities import cross_entropy, sigmoid, softmax
from nnunet_fess.losses.spatial import SpatialLoss
from nnunet_fess.losses.target import Target


class Voxels:
    """What the network says and what is true, voxel by voxel; each is computed when it is first asked for.

    In float32 (float64 stays). At ignored voxels the logits are 0 whatever the network said, the truth is background (no
    region), and the cross entropy is 0.

    Args:
        net_output: logits (B, C, *spatial).
        target: the checked target.
        distributed: take means over all ranks.
    """

    def __init__(self, net_output: Tensor, target: Target, distributed: bool = False) -> None:
        logits = net_output if net_output.dtype == torch.float64 else net_output.float()
        self.logits = logits if target.valid is None else logits.masked_fill(~target.valid, 0)
        self.target = target
        self.distributed = distributed
        # By hand: torch.compile cannot look through the lock of functools.cached_property.
        self._probability: Tensor | None = None
        self._truth: Tensor | None = None
        self._cross_entropy: Tensor | None = None

    @property
    def probability(self) -> Tensor:
        """P: (B, C, *spatial), softmax over the classes of a label map, sigmoid of regions."""
        if self._probability is None:
            self._probability = softmax(self.logits) if self.target.is_label_map else sigmoid(self.logits)
        return self._probability

    @property
    def truth(self) -> Tensor:
        """G: (B, C, *spatial), 0 or 1 in the logits' dtype."""
        if self._truth is None:
            self._truth = self.target.one_hot.to(self.logits.dtype)
        return self._truth

    @property
    def error(self) -> Tensor:
        """|p - g|: (B, C, *spatial), without that difference: 1 - p of what is true keeps its digits where p is close to 1."""
        if self.target.is_label_map:
            others = self.probability.masked_fill(self.target.one_hot, 0)
            return others.scatter_add(1, self.target.classes.long(), others.sum(1, keepdim=True))
        return sigmoid(torch.where(self.target.classes, -self.logits, self.logits))

    @property
    def cross_entropy(self) -> Tensor:
        """-log p of what is true: (B, 1, *spatial), for regions (B, C, *spatial)."""
        if self._cross_entropy is None:
            classes = self.target.classes
            if self.target.is_label_map:
                entropy = cross_entropy(self.logits, classes)
            else:
                entropy = F.softplus(torch.where(classes, -self.logits, self.logits), threshold=40)
            valid = self.target.valid
            self._cross_entropy = entropy if valid is None else entropy.masked_fill(~valid, 0)
        return self._cross_entropy

    def mean(self, values: Tensor) -> Tensor:
        """Mean of (B, 1 or C, *spatial) over the valid voxels and the channels; 0 if every voxel is ignored."""
        valid = self.target.valid
        if valid is None:
            total, count = values.sum(), values.new_tensor(values.numel())
        else:
            total, count = values.masked_fill(~valid, 0).sum(), valid.sum().to(values.dtype) * values.shape[1]
        if self.distributed:
            total, count = sum_over_ranks(torch.stack((total, count)))
        return total / count.clamp_min(1)


class VoxelLoss(SpatialLoss):
    """A formula on `Voxels` and on the loss's own maps; a subclass writes it down, autograd differentiates it.

    Args:
        ignore_label: see `SpatialLoss`.
        distributed: see `SpatialLoss`; `Voxels.mean` obeys it.
    """

    def components(self, net_output: Tensor, target: Target, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The formula's values, in float32 whatever autocast says."""
        with torch.autocast(device_type=net_output.device.type, enabled=False):
            return self.formula(Voxels(net_output, target, self.distributed), maps)

    def formula(self, voxels: Voxels, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The components, by name."""
        raise NotImplementedError
