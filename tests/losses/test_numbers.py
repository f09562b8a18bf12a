"""Whatever a patch holds and a network says: every loss is the float64 one, or says that it is not finite.

A few examples of each loss in every run. At night ten thousand of each, variants too:
`pytest -m nightly tests/losses/test_numbers.py`; EXAMPLES=1000 in the environment makes it a thousand.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from losses.every_loss import every_loss
from torch import Tensor, nn

from nnunet_fess.testing.skeleton import spatial_axes_of

LOSSES = every_loss()
SIZES = (1, 2, 3, 5, 7, 11, 13)
VOXELS = 400
IGNORED = 99
POISON = {"nothing": None, "nan": math.nan, "+inf": math.inf, "-inf": -math.inf}
CHECKS = {"suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large], "deadline": None}


@dataclass(frozen=True)
class Patch:
    """What is drawn; voxels follow from the seed."""

    kind: str
    channels: int
    batch: int
    shape: tuple[int, ...]
    content: str
    ignores: bool
    dtype: torch.dtype
    scale: float
    poison: str
    seed: int

    @property
    def ignore_label(self) -> int | None:
        return IGNORED if self.ignores and self.kind != "regions" else None

    def target(self) -> Tensor:
        random = torch.Generator().manual_seed(self.seed)
        values = 2 if self.kind == "binary" else self.channels
        channels = self.channels if self.kind == "regions" else 1
        shape = (self.batch, channels, *self.shape)
        if self.kind == "regions":
            labels = (torch.rand(shape, generator=random) < 0.4).long()
        else:
            labels = torch.randint(0, values, shape, generator=random)
        if self.content != "random":
            foreground = 1 if self.kind == "regions" else values - 1
            labels = torch.full(shape, foreground if self.content == "full" else 0)
            if self.content == "one voxel":
                labels.view(-1)[self.seed % labels.numel()] = foreground
        if self.ignores:
            everything = self.content == "all ignored"
            mask = torch.rand((self.batch, 1, *self.shape), generator=random) < (2 if everything else 0.2)
            labels = torch.cat((labels, mask.long()), 1) if self.kind == "regions" else labels.masked_fill(mask, IGNORED)
        return labels

    def valid(self, target: Tensor) -> Tensor:
        """(B, 1, *spatial)."""
        if not self.ignores:
            return torch.ones((self.batch, 1, *self.shape), dtype=torch.bool)
        return target[:, -1:] == 0 if self.kind == "regions" else target != IGNORED

    def logits(self) -> Tensor:
        random = torch.Generator().manual_seed(self.seed + 1)
        made = torch.randn((self.batch, self.channels, *self.shape), generator=random)
        return (made.clamp(-1, 1) * self.scale if self.scale > 100 else made * self.scale).to(self.dtype)

    @property
    def place(self) -> int:
        """Of the poison."""
        return self.seed % (self.batch * self.channels * math.prod(self.shape))

    @property
    def place_in_background(self) -> bool:
        """Whether the poison is in the first channel."""
        return self.place // math.prod(self.shape) % self.channels == 0


@st.composite
def patches(draw: st.DrawFn, axes: int | None) -> Patch:
    kind = draw(st.sampled_from(["labels", "regions", "binary"]))
    channels = {"labels": st.integers(2, 40), "regions": st.integers(2, 8), "binary": st.just(1)}[kind]
    number = axes or draw(st.sampled_from([2, 3]))
    shape: list[int] = []
    for _ in range(number):
        shape.append(draw(st.sampled_from([size for size in SIZES if size * math.prod(shape) <= VOXELS])))
    content = draw(st.sampled_from(["random", "empty", "full", "one voxel", "all ignored"]))
    return Patch(
        kind=kind,
        channels=draw(channels),
        batch=draw(st.integers(1, 3)),
        shape=tuple(draw(st.permutations(shape))),
        content=content,
        ignores=content == "all ignored" or draw(st.booleans()),
        dtype=draw(st.sampled_from([torch.float32, torch.float16, torch.bfloat16])),
        scale=draw(st.sampled_from([0.0, 1.0, 30.0, 1e4])),
        poison=draw(st.sampled_from([*POISON])),
        seed=draw(st.integers(0, 2**31)),
    )


def value_and_gradient(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    x = logits.clone().requires_grad_()
    value = loss(x, target)
    return value.detach(), torch.autograd.grad(value, x)[0]


def check(name: str, patch: Patch) -> None:
    make = LOSSES[name]
    target, logits = patch.target(), patch.logits()
    loss = make(ignore_label=patch.ignore_label, target_kind="regions" if patch.kind == "regions" else "labels")
    poison = POISON[patch.poison]
    if poison is not None:
        logits.view(-1)[patch.place] = poison
    value, gradient = value_and_gradient(loss, logits, target)
    assert value.dtype == torch.float32
    assert gradient.dtype == patch.dtype
    valid = patch.valid(target)
    if value.isfinite():
        assert not gradient.masked_select(~valid).any(), "ignored voxels have no gradient"
    counts = bool(valid.expand_as(logits).reshape(-1)[patch.place]) and not (
        name == "FESSLoss released" and patch.kind == "labels" and patch.place_in_background
    )  # the sigmoid of the foreground's channels: what the network says of the background is never read
    if poison is None or not counts:
        assert value.isfinite()
        assert value >= 0
        assert gradient.isfinite().all()
        if poison is not None:
            plain, plain_gradient = value_and_gradient(loss, patch.logits(), target)
            assert torch.equal(value, plain)
            assert torch.equal(gradient, plain_gradient)
        exact = loss(logits.double(), target)
        assert value.item() == pytest.approx(exact.item(), rel=1e-3, abs=1e-6)
    elif math.isnan(poison):
        assert not value.isfinite(), "it hides a NaN of the network"
    elif value.isfinite():
        assert gradient.isfinite().all(), "the value is finite and its gradient is not"


def of(name: str) -> int | None:
    return spatial_axes_of(LOSSES[name]())


@pytest.mark.parametrize("name", [name for name in LOSSES if " " not in name])
@settings(max_examples=10, **CHECKS)
@given(data=st.data())
def test_numbers(name, data):
    check(name, data.draw(patches(of(name))))


@pytest.mark.nightly
@pytest.mark.parametrize("name", LOSSES)
@settings(max_examples=int(os.environ.get("EXAMPLES", "10000")), **CHECKS)
@given(data=st.data())
def test_ten_thousand_numbers(name, data):
    check(name, data.draw(patches(of(name))))
