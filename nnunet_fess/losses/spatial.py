"""What all spatial losses share: arguments, target, sums over voxels. Each of them adds a formula on those sums."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nnunet_fess.losses.contour import Contour
from nnunet_fess.losses.sums import ClassSums, class_sums
from nnunet_fess.losses.target import Target, parse_target


class SpatialLoss(nn.Module):
    """A loss of logits against a target: a sum of terms, each of them a formula on `ClassSums`.

    Args:
        ignore_label: label of the voxels that do not count (label maps; regions bring a mask as last channel).
        distributed: sum over the ranks of torch.distributed, if that is initialised, so that loss and gradient are those
            of one process with the whole batch: cross entropy always, Dice if `batch_dice`.
        batch_dice: sum over the batch before the Dice ratio is taken, else a ratio per sample.
        smooth: ε of the Dice ratio, at least 1e-6 (float32 must keep the ratio of an empty class defined).

    Shape:
        net_output (B, C, *spatial) logits in any floating dtype, 2-D or 3-D. target in any dtype: (B, 1, *spatial) labels
        (softmax; sigmoid if C = 1), (B, C, *spatial) regions (sigmoid), or (B, C + 1, *spatial) regions and, as last
        channel, the mask of ignored voxels. Result: scalar >= 0, float32 (float64 for float64 logits).

    Raises:
        ValueError: ill shapes or labels, a smooth below 1e-6.

    Attributes:
        latest: the terms' values, without gradient, of the latest call.
    """

    contour: Contour | None = None

    def __init__(
        self,
        *,
        ignore_label: int | None = None,
        distributed: bool = False,
        batch_dice: bool = False,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__()
        if not smooth >= 1e-6:
            raise ValueError(f"smooth must be at least 1e-6. Got: {smooth}")
        self.ignore_label = ignore_label
        self.distributed = distributed
        self.batch_dice = batch_dice
        self.smooth = smooth
        self.latest: dict[str, Tensor] = {}

    def forward(self, net_output: Tensor, target: Tensor) -> Tensor:
        """The loss of logits (B, C, *spatial) against a target."""
        return self.of_target(net_output, parse_target(net_output, target, self.ignore_label))

    def of_target(self, net_output: Tensor, target: Target) -> Tensor:
        """The loss of logits against a target that was parsed before."""
        contour = None if self.contour is None else self.contour.of(target)
        sums = class_sums(net_output, target, contour, self.voxel_weight(target, contour))
        terms = self.terms(sums.over_batch(self.batch_dice, self.distributed))
        self.latest = {name: value.detach() for name, value in terms.items()}
        return torch.stack(list(terms.values())).sum()

    def voxel_weight(self, target: Target, contour: Tensor | None) -> Tensor | None:
        """Weight of every voxel's cross entropy; None: 1."""
        return None

    def terms(self, sums: ClassSums) -> dict[str, Tensor]:
        """The scalars that the loss is the sum of, by name, as functions of the sums."""
        raise NotImplementedError
