"""The sums over voxels from which most losses are made, in one pass and with the gradient written down.

Dice and cross entropy, contour-weighted or not, need of the probabilities p and the truth g only

    hit_rj = Σ_{i in part r} p_ij g_ij      missed_rj = Σ_{i in part r} (1 - p_ij) g_ij      false_j = Σ_i p_ij (1 - g_ij)
    cross_entropy_r = Σ_{i in part r} w_i CE_i                                               mapped_j = Σ_i φ_ij p_ij

where the parts r divide the voxels into the contour and the rest. A loss is a formula on these few numbers, left to
autograd; what touches every voxel is here. The softmax is shared by all components, and disjoint labels are gathered rather
than turned into one-hot channels: the memory kept for the backward pass is one set of probabilities.

Nothing is subtracted that could be summed directly. 1 - p of what is true is the sum of what the other classes got, false is
summed where the class is not, and a Dice ratio's complement is (missed + false) / (2 hit + missed + false): where a
prediction is nearly perfect, float32 keeps the digits of what is left to learn, in values and in gradients.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.target import Target


class ClassSums(NamedTuple):
    """Sums over the valid voxels, for the M classes that Dice counts (no background in a label map).

    Attributes:
        hit: (B, R, M) Σ p·g within each part. R = 2, [rest, contour], if a contour was given, else 1.
        missed: (B, R, M) Σ (1 - p)·g within each part.
        false: (B, M) Σ p·(1 - g).
        cross_entropy: (R,) Σ w·CE within each part; over voxels, for regions over channels too.
        summands: () how many there are in it.
        mapped: (B, C) Σ φ·p of every channel, background included; None without φ.
    """

    hit: Tensor
    missed: Tensor
    false: Tensor
    cross_entropy: Tensor
    summands: Tensor
    mapped: Tensor | None = None

    def over_batch(self, batch_dice: bool, distributed: bool) -> ClassSums:
        """The sums over the batch (B becomes 1) where Dice wants that, and over all ranks if distributed."""
        whole = {"cross_entropy": self.cross_entropy, "summands": self.summands}
        dice = {"hit": self.hit, "missed": self.missed, "false": self.false}
        if batch_dice:
            dice = {name: value.sum(0, keepdim=True) for name, value in dice.items()}
        if self.mapped is not None:
            whole["mapped"] = self.mapped.sum(0, keepdim=True) if distributed else self.mapped
        if not distributed:
            return ClassSums(**dice, **whole)
        summed = whole | dice if batch_dice else whole
        flat = sum_over_ranks(torch.cat([value.flatten() for value in summed.values()]))
        pieces = flat.split([value.numel() for value in summed.values()])
        summed = {name: piece.view_as(summed[name]) for name, piece in zip(summed, pieces, strict=True)}
        return ClassSums(**dice | summed)

    @property
    def predicted(self) -> Tensor:
        """(B, M) Σ p."""
        return self.false + self.hit.sum(1)

    @property
    def actual(self) -> Tensor:
        """(B, R, M) Σ g within each part: numbers of voxels, without gradient."""
        return (self.hit + self.missed).detach().round()

    @property
    def mean_cross_entropy(self) -> Tensor:
        """Σ w·CE / N: 0 if every voxel is ignored."""
        return self.cross_entropy.sum() / self.summands.clamp_min(1)

    def mean_cross_entropy_of_parts(self, rest: float, contour: float) -> Tensor:
        """Σ w·CE / N with these further weights on the two parts."""
        return (rest * self.cross_entropy[0] + contour * self.cross_entropy[1]) / self.summands.clamp_min(1)


def class_sums(
    net_output: Tensor,
    target: Target,
    contour: Tensor | None = None,
    weight: Tensor | None = None,
    phi: Tensor | None = None,
    background: bool = False,
) -> ClassSums:
    """Sum up logits against a target in float32 (float64 stays), whatever autocast says.

    Args:
        net_output: logits (B, C, *spatial).
        target: the checked target.
        contour: bool (B, 1, *spatial), for regions (B, C, *spatial): divides the voxels into two parts.
        weight: of the cross entropy, (B, 1, *spatial), for regions (B, 1 or C, *spatial); 1 if None.
        phi: φ, any floating (B, C, *spatial): multiplies the probabilities of `mapped`.
        background: class 0 of a label map counts like the others.
    """
    with torch.autocast(device_type=net_output.device.type, enabled=False):
        logits = net_output.flatten(2)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        valid, contour, weight, phi = (None if x is None else x.flatten(2) for x in (target.valid, contour, weight, phi))
        if valid is not None:  # whatever the network says at an ignored voxel, infinity included, must leave no trace
            logits = logits.masked_fill(~valid, 0)
            weight = valid if weight is None else weight * valid
            phi = None if phi is None else phi * valid
        weight, phi = (None if x is None else x.to(logits.dtype) for x in (weight, phi))
        summands = target.classes[:, :1].numel() if valid is None else valid.sum()
        summands = torch.as_tensor(summands, dtype=logits.dtype, device=logits.device)
        classes = target.classes.flatten(2)
        if target.is_label_map:
            hit, missed, false, entropy, mapped = _softmax_sums(logits, classes, valid, contour, weight, phi)
            first = 0 if background else 1
            return ClassSums(hit[..., first:], missed[..., first:], false[:, first:], entropy, summands, mapped)
        sums = _sigmoid_sums(logits, classes, valid, contour, weight, phi)
        return ClassSums(*sums[:4], summands * classes.shape[1], sums[4])


def _softmax_sums(
    logits: Tensor, labels: Tensor, valid: Tensor | None, contour: Tensor | None, weight: Tensor | None, phi: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    batch, classes, voxels = logits.shape
    shape = (batch, 1 if contour is None else 2, classes)
    last, device = math.prod(shape), labels.device
    # One bin per sample, part and class; ignored voxels go to an extra bin that nobody reads.
    small = torch.uint8 if last < 256 else torch.int64
    bins = torch.arange(0, last, shape[1] * classes, device=device, dtype=small).view(batch, 1, 1) + labels.to(small)
    if contour is not None:
        bins.add_(contour.to(small), alpha=classes)
    if valid is not None:
        bins.masked_fill_(~valid, last)
    bins = bins.long()
    # Where in the flattened logits each voxel's own class is: one axis is far faster to gather from than three.
    own_class = torch.arange(batch * voxels, device=device).view(batch, 1, voxels)
    own_class.add_(torch.arange(batch, device=device).view(batch, 1, 1), alpha=(classes - 1) * voxels)
    own_class = own_class.add_(labels, alpha=voxels).flatten()
    result: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None] = _SoftmaxSums.apply(
        logits, own_class, bins, shape, None if valid is None else valid.to(logits.dtype), weight, phi
    )
    return result


def sum_bins(values: Tensor, bins: Tensor, shape: tuple[int, int, int], scatter: bool | None = None) -> Tensor:
    """Σ of the values in each bin.

    Args:
        values: (B, 1, voxels), floating or int64.
        bins: (B, 1, voxels) int64, indices into the flattened result; one past its end: left out.
        shape: of the result, (B, R, C).
        scatter: how. True: one pass that adds each value to its bin, in float64, for a running float32 sum loses digits
            after 10^5 terms. False: a masked sum per class, because the threads of a GPU would queue for the few bins.
            None: by device.
    """
    if bins.device.type == "cpu" if scatter is None else scatter:
        total = bins.new_zeros(math.prod(shape) + 1, dtype=torch.float64 if values.is_floating_point() else values.dtype)
        total.scatter_add_(0, bins.flatten(), values.flatten().to(total.dtype))
        return total[:-1].view(shape).to(values.dtype)
    numbers = torch.arange(math.prod(shape), device=bins.device).view(*shape, 1)
    return torch.stack([torch.where(bins == part, values, 0).sum(2) for part in numbers.unbind(1)], 1)


def _own_entropy(logits: Tensor, probability: Tensor, own_class: Tensor, wrong: Tensor) -> Tensor:
    """-log p of each voxel's own class, precise where that is nearly certain and where it underflows."""
    # By way of the largest class, whose probability cannot underflow; cheaper than all of log p.
    entropy = logits.amax(1).flatten()
    entropy -= logits.flatten().index_select(0, own_class)
    entropy -= probability.amax(1).log_().flatten()
    entropy = entropy.view_as(wrong)
    return torch.where(wrong < 0.5, -torch.log1p(-wrong.clamp_max(0.5)), entropy)


class _SoftmaxSums(Function):
    """The sums of p = softmax(x) against the labels y.

    With upstream gradients f (of false), m (of mapped), t (missed minus hit in the bin of voxel i) and c (Σ w·CE),

        ∂/∂x_k = p_k (b_k - Σ_{j≠y} p_j b_j + c w)  for k ≠ y,      ∂/∂x_y = -p_y Σ_{j≠y} p_j b_j - (1 - p_y) c w

    where b_k = f_k + m_k φ_k + t - m_y φ_y: seen from the own class, so that nothing large cancels where p_y is nearly 1.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        own_class: Tensor,
        bins: Tensor,
        shape: tuple[int, int, int],
        valid: Tensor | None,
        weight: Tensor | None,
        phi: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        probability = torch.softmax(logits, 1)
        own = probability.flatten().index_select(0, own_class).view_as(bins)
        others = probability.flatten().index_fill_(0, own_class, 0).view_as(probability)
        wrong = others.sum(1, keepdim=True)
        entropy = _own_entropy(logits, torch.maximum(others.amax(1, keepdim=True), own), own_class, wrong)
        right = torch.exp(-entropy)  # precise where p underflows in the softmax
        hit, missed = sum_bins(right, bins, shape), sum_bins(wrong, bins, shape)
        if valid is not None:
            others.mul_(valid)
            right, wrong = right * valid, wrong * valid
        if weight is not None:
            entropy = entropy * weight
        mapped = None
        if phi is not None:
            own_phi = phi.flatten().index_select(0, own_class).view_as(bins)
            mapped = (others * phi).sum(2).flatten()
            places = torch.div(own_class, phi.shape[2], rounding_mode="floor")
            mapped = mapped.index_add(0, places, (right * own_phi).flatten()).view(phi.shape[:2])
        ctx.save_for_backward(others, right, wrong, own_class, bins, weight, phi)
        ctx.shape = shape
        return hit, missed, others.sum(2), _by_part(entropy, bins, shape), mapped

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_hit: Tensor, grad_missed: Tensor, grad_false: Tensor, grad_entropy: Tensor, grad_mapped: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        others, right, wrong, own_class, bins, weight, phi = ctx.saved_tensors
        with torch.autocast(device_type=others.device.type, enabled=False):
            per_bin = torch.stack((grad_missed - grad_hit, grad_entropy[:, None].expand(ctx.shape))).flatten(1)
            # The own class seen from any other one, and the weight of cross entropy, voxel by voxel.
            own, entropy = (F.pad(x, (0, 1)).index_select(0, bins.flatten()).view_as(right) for x in per_bin)
            if weight is not None:
                entropy = entropy * weight
            grad = grad_false[:, :, None] + own
            if phi is not None:
                slope = grad_mapped[:, :, None] * phi  # type: ignore[index]
                grad = grad + slope - slope.flatten().index_select(0, own_class).view_as(right)
            common = (grad * others).sum(1, keepdim=True)
            grad = (grad - common + entropy) * others
            mine = -(right * common) - wrong * entropy
            grad.view(-1).index_copy_(0, own_class, mine.flatten())
        return grad, None, None, None, None, None, None


def _by_part(values: Tensor, bins: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(R,) Σ of voxels' values within each part."""
    return sum_bins(values, bins, shape).sum((0, 2)) if shape[1] > 1 else values.sum()[None]


def _sigmoid_sums(
    logits: Tensor, regions: Tensor, valid: Tensor | None, contour: Tensor | None, weight: Tensor | None, phi: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    parts = [None] if contour is None else [~contour, contour]
    result: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None] = _SigmoidSums.apply(
        logits, regions, None if valid is None else valid.to(logits.dtype), weight, phi, *parts
    )
    return result


class _SigmoidSums(Function):
    """The sums of p = sigmoid(x), every channel against its own region g.

    With z = -x in the region and x elsewhere, sigmoid(z) is the probability of the wrong answer and softplus(z) the cross
    entropy. With upstream gradients t (false, or missed minus hit in the part), c (Σ w·CE) and m (of mapped),

        ∂/∂z = sigmoid(z) (sigmoid(-z) t + c w)      and      ∂/∂x += p (1 - p) m φ
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        regions: Tensor,
        valid: Tensor | None,
        weight: Tensor | None,
        phi: Tensor | None,
        *parts: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
        z = torch.where(regions, -logits, logits)
        entropy = F.softplus(z, threshold=40)
        entropy = entropy if weight is None else entropy * weight
        wrong, right = z.sigmoid(), (-z).sigmoid()
        if valid is not None:
            wrong, right = wrong * valid, right * valid
        inside = [regions if part is None else regions & part for part in parts]
        hit, missed = (torch.stack([(x * mask).sum(2) for mask in inside], 1) for x in (right, wrong))
        false = (wrong * ~regions).sum(2)
        entropies = torch.stack([(entropy if part is None else entropy * part).sum() for part in parts])
        mapped = None if phi is None else (torch.where(regions, right, wrong) * phi).sum(2)
        ctx.save_for_backward(wrong, right, regions, weight, phi, *parts)
        return hit, missed, false, entropies, mapped

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_hit: Tensor, grad_missed: Tensor, grad_false: Tensor, grad_entropy: Tensor, grad_mapped: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        wrong, right, regions, weight, phi, *parts = ctx.saved_tensors
        inside = (grad_missed - grad_hit)[..., None]
        own, entropy = inside[:, 0], grad_entropy[0]
        if parts[0] is not None:
            own, entropy = torch.where(parts[1], inside[:, 1], own), torch.where(parts[1], grad_entropy[1], entropy)
        own = torch.where(regions, own, grad_false[:, :, None])
        entropy = entropy if weight is None else entropy * weight
        grad = wrong * (right * own + entropy)
        grad = torch.where(regions, -grad, grad)
        if phi is not None:
            grad = grad + wrong * right * grad_mapped[:, :, None] * phi  # type: ignore[index]
        return grad, None, None, None, None, *[None] * len(parts)
