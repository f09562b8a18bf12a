"""The sums over voxels from which every spatial loss is made, in one pass and with the gradient written down.

Dice and cross entropy, contour-weighted or not, need of the probabilities p and the truth g only

    predicted_j = Σ_i p_ij      hit_rj = Σ_{i in part r} p_ij g_ij      actual_rj = Σ_{i in part r} g_ij      Σ_i w_i CE_i

where the parts r divide the voxels into the contour and the rest. A loss is a formula on these few numbers, left to
autograd; what touches every voxel is here. The softmax is shared by all terms, and disjoint labels are gathered rather
than turned into one-hot channels: the memory kept for the backward pass is one set of probabilities.
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
        predicted: (B, M) Σ p.
        hit: (B, R, M) Σ p·g within each part. R = 2, [rest, contour], if a contour was given, else 1.
        actual: (B, R, M) Σ g within each part.
        cross_entropy: () Σ w·CE; over voxels, for regions over channels too.
        terms: () number of terms in it.
    """

    predicted: Tensor
    hit: Tensor
    actual: Tensor
    cross_entropy: Tensor
    terms: Tensor

    def over_batch(self, batch_dice: bool, distributed: bool) -> ClassSums:
        """The sums over the batch (B becomes 1) where Dice wants that, and over all ranks if distributed."""
        predicted, hit, actual, cross_entropy, terms = self
        if batch_dice:
            predicted, hit, actual = (x.sum(0, keepdim=True) for x in (predicted, hit, actual))
        if distributed:
            cross_entropy, terms = sum_over_ranks(torch.stack((cross_entropy, terms)))
            if batch_dice:
                flat = sum_over_ranks(torch.cat([x.flatten() for x in (predicted, hit, actual)]))
                pieces = flat.split([predicted.numel(), hit.numel(), actual.numel()])
                predicted, hit, actual = pieces[0].view_as(predicted), pieces[1].view_as(hit), pieces[2].view_as(actual)
        return ClassSums(predicted, hit, actual, cross_entropy, terms)

    @property
    def mean_cross_entropy(self) -> Tensor:
        """Σ w·CE / N: 0 if every voxel is ignored."""
        return self.cross_entropy / self.terms.clamp_min(1)


def class_sums(net_output: Tensor, target: Target, contour: Tensor | None = None, weight: Tensor | None = None) -> ClassSums:
    """Sum up logits against a target in float32 (float64 stays), whatever autocast says.

    Args:
        net_output: logits (B, C, *spatial).
        target: the checked target.
        contour: bool (B, 1, *spatial), for regions (B, C, *spatial): divides the voxels into two parts.
        weight: of the cross entropy, shaped as the contour; 1 if None.
    """
    with torch.autocast(device_type=net_output.device.type, enabled=False):
        logits = net_output.flatten(2)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        valid, contour, weight = (None if x is None else x.flatten(2) for x in (target.valid, contour, weight))
        if valid is not None:  # whatever the network says at an ignored voxel, infinity included, must leave no trace
            logits = logits.masked_fill(~valid, 0)
            weight = valid if weight is None else weight * valid
        weight = None if weight is None else weight.to(logits.dtype)
        terms = target.classes[:, :1].numel() if valid is None else valid.sum()
        terms = torch.as_tensor(terms, dtype=logits.dtype, device=logits.device)
        classes = target.classes.flatten(2)
        if target.is_label_map:
            predicted, hit, actual, entropy = _softmax_sums(logits, classes, valid, contour, weight)
            return ClassSums(predicted[:, 1:], hit[..., 1:], actual[..., 1:], entropy, terms)
        predicted, hit, actual, entropy = _sigmoid_sums(logits, classes, valid, contour, weight)
        return ClassSums(predicted, hit, actual, entropy, terms * classes.shape[1])


def _softmax_sums(
    logits: Tensor, labels: Tensor, valid: Tensor | None, contour: Tensor | None, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
    actual = sum_bins(torch.ones_like(bins), bins, shape).to(logits.dtype)
    # Where in the flattened logits each voxel's own class is: one axis is far faster to gather from than three.
    own_class = torch.arange(batch * voxels, device=device).view(batch, 1, voxels)
    own_class.add_(torch.arange(batch, device=device).view(batch, 1, 1), alpha=(classes - 1) * voxels)
    own_class = own_class.add_(labels, alpha=voxels).flatten()
    predicted, hit, entropy = _SoftmaxSums.apply(
        logits, own_class, bins, shape, None if valid is None else valid.to(logits.dtype), weight
    )
    return predicted, hit, actual, entropy


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


def _own_probability(logits: Tensor, probability: Tensor, own_class: Tensor) -> tuple[Tensor, Tensor]:
    """p_y of each voxel's own class y, and log p_y, which is finite even where p_y underflows."""
    if logits.device.type == "cpu" and not torch.compiler.is_compiling():
        p_true = probability.flatten().index_select(0, own_class)
        # A look at the smallest saves two passes over all classes. A GPU would have to wait for the answer.
        if p_true.numel() and p_true.amin() > torch.finfo(p_true.dtype).tiny:
            return p_true, p_true.log()
    # By way of the largest class, whose probability cannot underflow; cheaper than all of log p.
    log_p_true = logits.flatten().index_select(0, own_class)
    log_p_true -= logits.amax(1).flatten()
    log_p_true += probability.amax(1).log_().flatten()
    return log_p_true.exp(), log_p_true


class _SoftmaxSums(Function):
    """Σ p per class, Σ p_y per bin and Σ w·CE of p = softmax(x) against the labels y.

    With upstream gradients a (of Σ p), t (of the bin of voxel i) and c (of Σ w·CE),

        ∂/∂x_k = p_k (a_k - Σ_j p_j a_j - u) + [k = y] u,      u = p_y t - c w
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
    ) -> tuple[Tensor, Tensor, Tensor]:
        probability = torch.softmax(logits, 1)
        p_true, log_p_true = _own_probability(logits, probability, own_class)
        p_true, log_p_true = p_true.view_as(bins), log_p_true.view_as(bins)
        entropy = -(log_p_true if weight is None else log_p_true.mul_(weight)).sum()
        hit = sum_bins(p_true, bins, shape)
        if valid is not None:
            probability.mul_(valid)  # where p is 0 and w too, so is the gradient
        ctx.save_for_backward(probability, p_true, own_class, bins, weight)
        return probability.sum(2), hit, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_predicted: Tensor, grad_hit: Tensor, grad_entropy: Tensor
    ) -> tuple[Tensor, None, None, None, None, None]:
        probability, p_true, own_class, bins, weight = ctx.saved_tensors
        per_bin = F.pad(grad_hit.flatten(), (0, 1))
        own = per_bin.index_select(0, bins.flatten()).view_as(p_true).mul_(p_true)
        own = own.sub_(grad_entropy) if weight is None else own.addcmul_(weight, grad_entropy, value=-1)
        common = torch.bmm(grad_predicted[:, None], probability).add_(own)
        grad = (grad_predicted[:, :, None] - common).mul_(probability)
        grad.view(-1).scatter_add_(0, own_class, own.flatten())
        return grad, None, None, None, None, None


def _sigmoid_sums(
    logits: Tensor, regions: Tensor, valid: Tensor | None, contour: Tensor | None, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    parts = [regions] if contour is None else [regions, regions & contour]
    predicted, hit, actual, entropy = _SigmoidSums.apply(
        logits,
        None if valid is None else valid.to(logits.dtype),
        weight,
        *(part.view(torch.int8) for part in parts),  # a CPU turns bytes into floats three times as fast as bools
    )
    if contour is not None:
        hit, actual = (torch.stack((x[:, 0] - x[:, 1], x[:, 1]), 1) for x in (hit, actual))
    return predicted, hit, actual, entropy


class _SigmoidSums(Function):
    """Σ p, Σ p·g and Σ g for each of the masks g, and Σ w·CE of p = sigmoid(x), every channel against its own region.

    The masks are the region, and its rim if that is given. With upstream gradients a (of Σ p), t (of Σ p·g) and c (of Σ w·CE),

        ∂/∂x = p (1 - p) (a + Σ_g t g) + c w (p - region)

    New memory costs more than arithmetic here: the masks take turns in one buffer of floats.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, valid: Tensor | None, weight: Tensor | None, *masks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        # CE is log(1 + exp(-x)) in the region and log(1 + exp(x)) elsewhere: nothing can underflow.
        buffer = masks[0].mul(-2).add_(1).to(logits.dtype).mul_(logits)
        entropy = F.softplus(buffer, threshold=40)
        entropy = (entropy if weight is None else entropy.mul_(weight)).sum()
        probability = logits.sigmoid()
        if valid is not None:
            probability.mul_(valid)  # where p is 0, so is p (1 - p)
        sums = [(buffer.copy_(mask).sum(2), buffer.mul_(probability).sum(2)) for mask in masks]
        actual, hit = (torch.stack(each, 1) for each in zip(*sums, strict=True))
        ctx.save_for_backward(probability, weight, *masks)
        ctx.mark_non_differentiable(actual)
        return probability.sum(2), hit, actual, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_predicted: Tensor, grad_hit: Tensor, grad_actual: Tensor, grad_entropy: Tensor
    ) -> tuple[Tensor | None, ...]:
        probability, weight, *masks = ctx.saved_tensors
        grad = grad_predicted[:, :, None].expand_as(probability).contiguous()
        buffer = torch.empty_like(probability)
        for i in reversed(range(len(masks))):  # the region last, which stays in the buffer
            grad.addcmul_(buffer.copy_(masks[i]), grad_hit[:, i, :, None])
        grad.mul_(probability).addcmul_(grad, probability, value=-1)
        buffer.sub_(probability)
        grad.addcmul_(buffer if weight is None else buffer.mul_(weight), grad_entropy, value=-1)
        return grad, None, None, *[None] * len(masks)
