"""The sums over voxels from which most losses are made, in one pass and with the gradient written down.

Dice and cross entropy, contour-weighted or not, need of the probabilities p and the truth g only

    hit_rj = Σ_{i in part r} p_ij g_ij      missed_rj = Σ_{i in part r} (1 - p_ij) g_ij      false_j = Σ_i p_ij (1 - g_ij)
    cross_entropy_r = Σ_{i in part r} w_i CE_i                                               mapped_j = Σ_i φ_ij p_ij

where the parts r divide the voxels into the contour and the rest. A loss is a formula on these few numbers, left to
autograd; what touches every voxel is here, block by block (`nnunet_fess.losses.blocks`). The softmax is shared by all
components, disjoint labels are gathered rather than turned into one-hot channels, and the probabilities are kept for the
backward pass.

Nothing is subtracted that could be summed directly. 1 - p of what is true is the sum of what the other classes got, false is
summed where the class is not, and a Dice ratio's complement is (missed + false) / (2 hit + missed + false): where a
prediction is nearly perfect, float32 keeps the digits of what is left to learn, in values and in gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from nnunet_fess.losses.blocks import Index, blocks, in_blocks, keeps
from nnunet_fess.losses.distributed import sum_over_ranks
from nnunet_fess.losses.probabilities import add_at, own_and_others, own_entropy, own_place, take_at
from nnunet_fess.losses.target import Target

# What a block keeps for the backward pass; nothing while compiling, and where nobody asks for a gradient.
Kept = tuple[Tensor, Tensor] | None


class ClassSums(NamedTuple):
    """Sums over the valid voxels, for the M classes that Dice counts (no background in a label map).

    What was not asked for is NaN.

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
    *,
    background: bool = False,
    overlap: bool = True,
    entropy: bool = True,
) -> ClassSums:
    """Sum up logits against a target in float32 (float64 stays), whatever autocast says.

    Args:
        net_output: logits (B, C, *spatial).
        target: the checked target.
        contour: bool (B, 1, *spatial), for regions (B, C, *spatial): divides the voxels into two parts.
        weight: of the cross entropy, (B, 1, *spatial), for regions (B, 1 or C, *spatial); 1 if None.
        phi: φ, any floating (B, C, *spatial): multiplies the probabilities of `mapped`.
        background: class 0 of a label map counts like the others.
        overlap: whether hit, missed and false are wanted.
        entropy: whether the cross entropy is.
    """
    with torch.autocast(device_type=net_output.device.type, enabled=False):
        logits = net_output.flatten(2)
        dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
        valid, contour, weight, phi = (None if x is None else x.flatten(2) for x in (target.valid, contour, weight, phi))
        weight, phi = (None if x is None else x.to(dtype) for x in (weight, phi))
        summands = logits[:, :1].numel() if valid is None else valid.sum()
        summands = torch.as_tensor(summands, dtype=dtype, device=logits.device)
        # A CPU turns bytes into floats five times as fast as bools.
        classes = _bytes(target.classes.flatten(2))
        contour = None if contour is None else _bytes(contour)
        # Of two classes that compete one is enough: its probability is the sigmoid of the difference of their logits.
        pair = target.is_label_map and target.num_classes == 2 and phi is None and not background
        sums = _Softmax if target.is_label_map and not pair else _Sigmoid
        hit, missed, false, entropies, mapped = sums.apply(
            logits, classes, contour, valid, weight, phi, pair, overlap, entropy, dtype
        )
        if target.is_label_map and not pair:
            first = 0 if background else 1
            hit, missed, false = hit[..., first:], missed[..., first:], false[:, first:]
        return ClassSums(hit, missed, false, entropies, summands * classes.shape[1], None if phi is None else mapped)


def _bytes(x: Tensor) -> Tensor:
    return x.contiguous().view(torch.uint8) if x.dtype == torch.bool else x


def _part(x: Tensor | None, index: Index) -> Tensor | None:
    return None if x is None else x[index[0], ..., index[1]]


def _collect(results: Sequence[Tensor], where: list[Index], samples: int) -> Tensor:
    """(B, …) of what the blocks found, added up in float64."""
    if isinstance(where[0][0], slice):
        return results[0]
    found = torch.stack(tuple(results))
    return found.double().view(samples, -1, *found.shape[1:]).sum(1)


def _dots(first: Tensor, second: Tensor) -> Tensor:
    """Scalar products along the last axis; not by the BLAS, whose threads and whose alignment would change the last digit."""
    return (first * second).sum(-1)


class _Sigmoid(Function):
    """The sums of p = sigmoid(x), every channel against its own region g; or of the second of two classes that compete.

    With z = -x in the region and x elsewhere, wrong = sigmoid(z) and right = sigmoid(-z) are the probabilities of the wrong and
    the right answer, each with all its digits, and log(1 + wrong / right) is the cross entropy. With upstream gradients t
    (false outside, missed minus hit in the part inside), c (Σ w·CE) and m (of mapped),

        ∂/∂z = wrong (right t + c w)      and      ∂/∂x = ±∂/∂z + p (1 - p) m φ
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        regions: Tensor,
        contour: Tensor | None,
        valid: Tensor | None,
        weight: Tensor | None,
        phi: Tensor | None,
        pair: bool,
        overlap: bool,
        entropy: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(logits, regions, contour, valid, weight, phi)
        ctx.options = pair, overlap, entropy, dtype
        parts, channels = 1 if contour is None else 2, regions.shape[1]
        nothing = torch.full((), torch.nan, dtype=dtype, device=logits.device)

        keep = keeps(ctx)

        def work(index: Index) -> tuple[Tensor, Kept]:
            g, _, z = _signed(logits, regions, valid, pair, dtype, index)
            w, c, counts = _part(weight, index), _part(contour, index), _part(valid, index)
            c = None if c is None else c.to(dtype).expand_as(z)
            wrong, right = z.sigmoid(), z.neg().sigmoid_()
            found = []
            if overlap:
                inside = [g] if c is None else [g - g * c, g * c]
                outside = 1 - g if counts is None else (1 - g) * counts
                found += [_dots(right, x) for x in inside] + [_dots(wrong, x) for x in inside] + [_dots(wrong, outside)]
            if entropy:
                ce = _log1p_odds(wrong, right, z)
                ce = ce if w is None else ce * w
                ce = ce if counts is None else ce * counts
                found += [ce.sum(-1)] if c is None else [_dots(ce, 1 - c), _dots(ce, c)]
            if phi is not None:
                p = torch.lerp(wrong, right, g)
                found.append(_dots(p if counts is None else p * counts, phi[index[0], ..., index[1]]))
            return torch.stack(found, -1), (wrong, right) if keep else None

        where = blocks(logits, channels)
        results, ctx.kept = zip(*in_blocks(work, where), strict=True)
        sums = _collect(results, where, len(logits)).to(dtype).movedim(-1, 1)  # (B, sums, channels)
        if not overlap:
            unknown = nothing.expand(len(logits), 2 * parts + 1, channels)
            sums = torch.cat((unknown, sums), 1)
        hit, missed, false, rest = sums.tensor_split((parts, 2 * parts, 2 * parts + 1), 1)
        entropies = rest[:, :parts].sum((0, 2)) if entropy else nothing.expand(parts).clone()
        mapped = nothing.clone() if phi is None else rest[:, -1].contiguous()
        return hit.contiguous(), missed.contiguous(), false[:, 0].contiguous(), entropies, mapped

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_hit: Tensor, to_missed: Tensor, to_false: Tensor, to_entropy: Tensor, to_mapped: Tensor
    ) -> tuple[Tensor | None, ...]:
        logits, regions, contour, valid, weight, phi = ctx.saved_tensors
        pair, overlap, entropy, dtype = ctx.options
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)
        inside = (to_missed - to_hit)[..., None]  # (B, parts, channels, 1)

        def work(index: Index, kept: Kept) -> None:
            if kept is None:
                g, sign, z = _signed(logits, regions, valid, pair, dtype, index)
                wrong, right = z.sigmoid(), z.neg().sigmoid_()
            else:
                (g, sign), (wrong, right) = _sides(regions, dtype, index), kept
            sample = index[0]
            w, c, counts = _part(weight, index), _part(contour, index), _part(valid, index)
            c = None if c is None else c.to(dtype)
            slope: Tensor | None = None
            if overlap:
                own = (
                    inside[sample, ..., 0, :, :]
                    if c is None
                    else _mix(inside[sample, ..., 0, :, :], inside[sample, ..., 1, :, :], c)
                )
                slope = _mix(to_false[sample, :, None], own, g).mul_(right)
            if entropy:
                ce = to_entropy[0] if c is None else _mix(to_entropy[0], to_entropy[1], c)
                ce = ce if w is None else ce * w
                slope = ce if slope is None else slope.add_(ce)
            result = torch.zeros_like(wrong) if slope is None else (wrong * slope).mul_(sign)
            if phi is not None:
                result += (wrong * right).mul_(to_mapped[sample, :, None]).mul_(phi[sample, ..., index[1]])
            if counts is not None:
                result *= counts
            out = grad[sample, ..., index[1]]
            if pair:
                out[..., 1:, :].copy_(result)
                out[..., :1, :].copy_(result.neg_())
            else:
                out.copy_(result)

        with torch.autocast(device_type=logits.device.type, enabled=False):
            in_blocks(work, blocks(logits, regions.shape[1]), ctx.kept)
        return grad, *[None] * 9


def _signed(
    logits: Tensor, regions: Tensor, valid: Tensor | None, pair: bool, dtype: torch.dtype, index: Index
) -> tuple[Tensor, Tensor, Tensor]:
    """A block's region g, the sign 1 - 2g, and z: logits (…, channels, voxels) that count against the truth."""
    g, sign = _sides(regions, dtype, index)
    x = logits[index[0], ..., index[1]].to(dtype)
    if pair:
        x = x[..., 1:, :] - x[..., :1, :]
    if valid is not None:  # whatever the network says at an ignored voxel, infinity included, must leave no trace
        x = x.masked_fill(~valid[index[0], ..., index[1]], 0)
    return g, sign, x * sign


def _sides(regions: Tensor, dtype: torch.dtype, index: Index) -> tuple[Tensor, Tensor]:
    g = regions[index[0], ..., index[1]].to(dtype)
    return g, torch.rsub(g, 1, alpha=2)


def _mix(elsewhere: Tensor, there: Tensor, mask: Tensor) -> Tensor:
    """`there` where the mask is 1 and `elsewhere` where it is 0, exactly, however far apart they are."""
    return torch.lerp(elsewhere, there, mask)


def _log1p_odds(wrong: Tensor, right: Tensor, z: Tensor) -> Tensor:
    """-log right = log(1 + wrong / right) = softplus(z): precise where it is small, finite where right underflows."""
    on_cpu = z.device.type == "cpu" and not torch.compiler.is_compiling()
    if on_cpu and not bool(z.amax() > 80):  # a GPU would have to wait for the answer
        return (wrong / right).log1p_()
    return torch.where(z > 80, z, (wrong / right.clamp_min(torch.finfo(z.dtype).tiny)).log1p_())


class _Softmax(Function):
    """The sums of p = softmax(x) against the labels y.

    With upstream gradients f (of false), m (of mapped), t (missed minus hit in the bin of voxel i) and c (Σ w·CE),

        ∂/∂x_k = p_k (b_k - Σ_{j≠y} p_j b_j + c w)  for k ≠ y,      ∂/∂x_y = -p_y Σ_{j≠y} p_j b_j - (1 - p_y) c w

    where b_k = f_k + m_k φ_k + t - m_y φ_y: seen from the own class, so that nothing large cancels where p_y is nearly 1.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        contour: Tensor | None,
        valid: Tensor | None,
        weight: Tensor | None,
        phi: Tensor | None,
        pair: bool,
        overlap: bool,
        entropy: bool,
        dtype: torch.dtype,
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(logits, labels, contour, valid, weight, phi)
        ctx.options = overlap, entropy, dtype
        batch, classes, _ = logits.shape
        parts = 1 if contour is None else 2
        nothing = torch.full((), torch.nan, dtype=dtype, device=logits.device)

        keep = keeps(ctx)

        def work(index: Index) -> tuple[Tensor, Kept]:
            x, own, others, place = own_and_others(logits, labels, valid, dtype, index)
            w, c, counts, wrong = _part(weight, index), _part(contour, index), _part(valid, index), others.sum(-2, keepdim=True)
            found = []
            if overlap:
                bins = _bins(labels, contour, valid, classes, index)
                found += [sum_bins(own, bins, parts * classes), sum_bins(wrong, bins, parts * classes)]
                found.append((others if counts is None else others * counts).sum(-1))
            if entropy:
                ce = own_entropy(x, own, others, wrong, place)
                ce = ce if w is None else ce * w
                ce = ce if counts is None else ce * counts
                there = None if c is None else c.to(dtype)
                found += [ce.sum(-1)] if there is None else [_dots(ce, 1 - there), _dots(ce, there)]
            if phi is not None:
                p = others.clone()
                add_at(p, place, own)
                found.append(((p if counts is None else p * counts) * phi[index[0], ..., index[1]]).sum(-1))
            return torch.cat([part.to(dtype) for part in found], -1), (own, others) if keep else None

        where = blocks(logits, classes)
        results, ctx.kept = zip(*in_blocks(work, where), strict=True)
        sums = _collect(results, where, batch).to(dtype)
        sizes = [parts * classes, parts * classes, classes] * overlap + [1] * parts * entropy + [classes] * (phi is not None)
        pieces = list(sums.split(sizes, -1))
        mapped = nothing.clone() if phi is None else pieces.pop().contiguous()
        entropies = (
            torch.cat([pieces.pop() for _ in range(parts)][::-1], 1).sum(0) if entropy else nothing.expand(parts).clone()
        )
        if not overlap:
            pieces = [nothing.expand(batch, n).clone() for n in (parts * classes, parts * classes, classes)]
        hit, missed = (piece.reshape(batch, parts, classes) for piece in pieces[:2])
        return hit.contiguous(), missed.contiguous(), pieces[2].contiguous(), entropies, mapped

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_hit: Tensor, to_missed: Tensor, to_false: Tensor, to_entropy: Tensor, to_mapped: Tensor
    ) -> tuple[Tensor | None, ...]:
        logits, labels, contour, valid, weight, phi = ctx.saved_tensors
        overlap, entropy, dtype = ctx.options
        classes = logits.shape[1]
        grad = torch.empty_like(logits, memory_format=torch.contiguous_format)
        per_bin = torch.nn.functional.pad((to_missed - to_hit).flatten(1), (0, 1))  # the last bin is that of ignored voxels

        def work(index: Index, kept: Kept) -> None:
            if kept is None:
                _, own, others, place = own_and_others(logits, labels, valid, dtype, index)
            else:
                (own, others), place = kept, own_place(labels, index)
            sample = index[0]
            w, c, counts = _part(weight, index), _part(contour, index), _part(valid, index)
            if counts is not None:
                own, others = own * counts, others * counts
            common: Tensor | None = None
            result: Tensor | None = None
            if overlap:
                result = _look_up(per_bin[sample], _bins(labels, contour, valid, classes, index)) + to_false[sample, :, None]
            if phi is not None:
                slope = to_mapped[sample, :, None] * phi[sample, ..., index[1]]
                slope = slope - take_at(slope, place)
                result = slope if result is None else result + slope
            mine = torch.zeros_like(own)
            if result is not None:
                common = (result * others).sum(-2, keepdim=True)
                result -= common
                mine -= own * common
            if entropy:
                ce = to_entropy[0] if c is None else _mix(to_entropy[0], to_entropy[1], c.to(dtype))
                ce = ce if w is None else ce * w
                mine -= others.sum(-2, keepdim=True) * ce
                result = others * ce if result is None else result.add_(ce).mul_(others)
            elif result is not None:
                result *= others
                _renew_certain(result, others, mine)
            else:
                result = torch.zeros_like(others)
            add_at(result, place, mine)
            grad[sample, ..., index[1]].copy_(result)

        with torch.autocast(device_type=logits.device.type, enabled=False):
            in_blocks(work, blocks(logits, classes), ctx.kept)
        return grad, *[None] * 9


def _renew_certain(gradient: Tensor, others: Tensor, mine: Tensor) -> None:
    """A wrong class that is certain: its gradient, a small difference of large numbers, is minus the sum of the others'.

    In place. Beside the gradient of cross entropy that difference is nothing.
    """
    certain = 0.99
    if others.device.type == "cpu" and not torch.compiler.is_compiling() and not bool(others.amax() > certain):
        return
    there = others > certain
    gradient.masked_fill_(there, 0)  # its own rounding would hide what is left of the others
    gradient -= there * (gradient.sum(-2, keepdim=True) + mine)


def _bins(labels: Tensor, contour: Tensor | None, valid: Tensor | None, classes: int, index: Index) -> Tensor:
    """Number of each voxel's bin, part by part and class by class; ignored voxels are in one more that nobody reads."""
    last = classes if contour is None else 2 * classes
    small = torch.uint8 if last < 256 else torch.int64
    bins = labels[index[0], ..., index[1]].to(small)
    if contour is not None:
        bins = torch.add(bins, contour[index[0], ..., index[1]].to(small), alpha=classes)
    return bins if valid is None else bins.masked_fill(~valid[index[0], ..., index[1]], last)


def sum_bins(values: Tensor, bins: Tensor, number: int) -> Tensor:
    """Σ of the values (…, 1, voxels) in each bin, (…, number)."""
    if values.dim() == 2 and values.device.type == "cpu":
        # In float64: a running float32 sum loses digits after 10^5 terms.
        return torch.bincount(bins.flatten(), values.flatten().double(), minlength=number)[:number]
    # A masked sum per bin: the threads of a GPU would queue for the few bins.
    return torch.stack([torch.where(bins == part, values, 0).sum((-2, -1)) for part in range(number)], -1)


def _look_up(table: Tensor, bins: Tensor) -> Tensor:
    """The table's (…, bins) entry of every voxel, (…, 1, voxels)."""
    if table.dim() == 1:
        return table.index_select(0, bins.flatten().int())[None]
    return table.gather(-1, bins[..., 0, :].long())[..., None, :]
