"""Dice and cross entropy in which every connected component counts the same, beside those of the whole patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from nnunet_fess.losses.dice import dice_complement
from nnunet_fess.losses.dice_ce import DiceCELoss
from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.maps.spacing import check_spacing, grid_spacing
from nnunet_fess.losses.maps.voronoi import most_cells, voronoi_cells
from nnunet_fess.losses.probabilities import sigmoid
from nnunet_fess.losses.spatial import Common, SpatialLoss
from nnunet_fess.losses.target import Target

if TYPE_CHECKING:
    from typing_extensions import Unpack


class CCDiceLoss(SpatialLoss):
    r"""Component-balanced Dice and cross entropy (CC-DiceCE), for small structures that Dice of the patch does not see.

    .. math:: L = \frac12 (L_{Dice} + L_{CE}) + \frac12 \frac{1}{BM} \sum_{bj} \frac{1}{K_{bj}} \sum_{k=1}^{K_{bj}}
        \left( 1 - \frac{2 \sum_{i ∈ V_k} p_i g_i + ε}{\sum_{i ∈ V_k} (p_i + g_i) + ε}
        - \frac{1}{|V_k|} \sum_{i ∈ V_k} g_i \log p_i + (1 - g_i) \log(1 - p_i) \right)

    over the B samples, the M foreground classes (regions) j and the Voronoi cells V_k of the K connected components of class j
    in sample b: the voxels that are nearer, in mm, to component k than to any other of that class. A lesion of ten voxels
    weighs as much as one of ten thousand. Of labels, every class is seen against all others, p being its softmax. The first
    half is `DiceCELoss`.

    A class that is not in a sample has one cell there, the whole patch: its Dice part is 1 - ε / (Σ p + ε), its cross entropy
    the mean over the patch. Ignored voxels belong to no component, and count in no cell. What the patch or ignored voxels cut
    in two are two components.

    Args:
        batch_dice: of the first half, see `SumsLoss`; a component lies in one sample, so that the second knows no such choice.
        smooth: ε of both halves.
        spacing: mm per axis; None: distances are in voxels.
        patch_size: spatial shape of the grid with that spacing, so that the spacing of the coarser targets of deep supervision
            is known. None: every target has that spacing.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: ill shapes or labels, a smooth below 1e-6, an ill spacing.

    Source: Bouteille et al. 2025, arXiv 2511.17146, after the cells of Jaus et al. 2024, arXiv 2410.18684 (CC-Metrics), for one
    foreground class, where both halves weigh 1; here each has a half, so that the loss is as large as the DiceCE to which
    nnU-Net's learning rate belongs. Distances there are in voxels. That every class is seen against the rest is ours.

    Example:
        >>> import torch
        >>> CCDiceLoss()(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
        tensor(1.0265)
    """

    def __init__(
        self,
        *,
        batch_dice: bool = False,
        smooth: float = 1e-5,
        spacing: Sequence[float] | None = None,
        patch_size: Sequence[int] | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        check_spacing(spacing, patch_size)
        self.whole = DiceCELoss(batch_dice=batch_dice, smooth=smooth, **common)
        self.smooth = smooth
        self.spacing = spacing
        self.patch_size = patch_size

    def maps(self, target: Target) -> dict[str, Tensor]:
        """The cells of every foreground class or region: (B, M, *spatial) int32."""
        shape = target.classes.shape[2:]
        spacing = None if self.spacing is None else grid_spacing(self.spacing, self.patch_size, shape)
        return {"cells": voronoi_cells(target.foreground, spacing)}

    def components(self, net_output: Tensor, target: Target, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Half of Dice and CE of the patch, half of Dice and CE of the cells."""
        whole = self.whole.components(net_output, target, {})
        with torch.autocast(device_type=net_output.device.type, enabled=False):
            dice, entropy = self._of_cells(net_output, target, maps["cells"])
        return {name: value / 2 for name, value in {**whole, "cc_dice": dice, "cc_ce": entropy}.items()}

    def _of_cells(self, net_output: Tensor, target: Target, cells: Tensor) -> tuple[Tensor, Tensor]:
        """Mean over samples and classes of the means over cells, of Dice and of cross entropy."""
        logits = net_output if net_output.dtype == torch.float64 else net_output.float()
        valid = target.valid
        if valid is not None:  # whatever the network says at an ignored voxel must leave no trace
            logits = logits.masked_fill(~valid, 0)
        truth = target.foreground.flatten(2)
        x = (against_the_rest(logits) if target.is_label_map else logits).flatten(2)
        x = torch.where(truth, -x, x)  # counts against the truth: σ(x) is the probability of the wrong answer
        wrong, entropy = sigmoid(x), F.softplus(x, threshold=40)
        if valid is not None:
            wrong, entropy = wrong * valid.flatten(2), entropy * valid.flatten(2)

        # Of each cell its inside, the component, and its outside; in float64, where a running sum keeps its digits.
        place, slots = cells.flatten(2).long().mul_(2).add_(truth), 2 * most_cells(cells.shape[2:])
        voxels = _sums(x.new_ones(()) if valid is None else valid.flatten(2), place, slots)
        wrong, entropy = _sums(wrong, place, slots), _sums(entropy, place, slots).sum(-1)
        false, missed = wrong.unbind(-1)
        dice = dice_complement(voxels[..., 1] - missed, missed, false, self.smooth)
        size = voxels.sum(-1)
        there = size > 0
        each = torch.stack((dice * there, entropy / size.clamp_min(1)))  # (2, B, M, cells)
        means = each.sum(-1) / there.sum(-1).clamp_min(1)
        total, number = means.flatten(1).sum(1), torch.full_like(means[0, :1, 0], means[0].numel())
        if self.distributed:
            total, number = sum_over_ranks(torch.cat((total, number))).split((2, 1))
        dice, entropy = (total / number).to(x.dtype).unbind()
        return dice, entropy


def against_the_rest(logits: Tensor) -> Tensor:
    r"""Logit of each foreground class against all others together, so that its sigmoid is the class's softmax.

    .. math:: z_c = x_c - \log \sum_{j ≠ c} e^{x_j}

    Args:
        logits: (B, C, *spatial), float32 or float64, C >= 2.

    Returns:
        (B, C - 1, *spatial), to the last digits: what is subtracted is never the class itself.
    """
    if logits.shape[1] == 2:
        return logits[:, 1:] - logits[:, :1]
    top = logits.detach().amax(1, keepdim=True)
    is_top = logits == top
    is_top &= is_top.to(logits.dtype).sum(1, keepdim=True) == 1  # two largest are each other's rest, and neither needs care
    others = logits.masked_fill(is_top, -torch.inf)
    second = others.detach().amax(1, keepdim=True)
    # The largest's rest is summed without it; any other's holds the largest's 1, from which e^x_c takes no digits.
    of_top = (others - second).exp().sum(1, keepdim=True).log() + (second - top)
    powers = (logits - top).exp()
    of_others = (powers.sum(1, keepdim=True) - powers).masked_fill(is_top, 1).log()
    return (logits - top - torch.where(is_top, of_top, of_others))[:, 1:]


def _sums(values: Tensor, place: Tensor, slots: int) -> Tensor:
    """Σ of the values, as many as places (B, M, voxels) or one for all, in each cell's outside and inside, (B, M, cells, 2)."""
    wide = values.to(torch.float32 if values.device.type == "mps" else torch.float64)
    zeros = wide.new_zeros((*place.shape[:2], slots))
    return zeros.scatter_add(-1, place, wide.expand_as(place)).unflatten(-1, (-1, 2))
