"""What every loss of logits must do: one function per property, the same names as the methods of kornia's tests.

Each takes `make`, which makes the loss given the arguments that all losses have (`ignore_label`, `distributed`), and raises
AssertionError where the property does not hold.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

Make = Callable[..., nn.Module]

# Absolute and relative tolerance by dtype of the logits.
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-7}
SHAPES = {"3-D": (5, 4, 6), "2-D": (7, 6), "depth 1": (1, 6, 7)}
TARGETS = ("labels", "two labels", "regions", "regions and ignore mask", "binary", "binary and ignore mask")
TARGETS_THAT_IGNORE = ("labels", "two labels", "regions and ignore mask", "binary", "binary and ignore mask")
DEGENERATE = {
    "background": torch.zeros(2, 1, 4, 4, 4),
    "one class": torch.ones(2, 1, 4, 4, 4),
    "ignored": torch.full((2, 1, 4, 4, 4), 9),
    "no region": torch.zeros(2, 3, 4, 4, 4),
    "all regions": torch.ones(2, 3, 4, 4, 4),
    "ignored regions": torch.ones(2, 4, 4, 4, 4),
}
_CHANNELS = {"binary": 1, "two": 2}


def example(kind: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits (2, C, *shape) and a target of the kind."""
    generator = torch.Generator().manual_seed(0)
    channels = _CHANNELS.get(kind.split()[0], 3)
    logits = torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64)
    if kind in ("labels", "two labels", "binary"):
        values = max(channels, 2)
        return logits.to(dtype), torch.randint(0, values, (2, 1, *shape), generator=generator, dtype=torch.int16)
    masks = channels + ("ignore" in kind)
    return logits.to(dtype), torch.rand(2, masks, *shape, generator=generator) > 0.6


def spatial_axes_of(loss: nn.Module) -> int | None:
    """How many axes a loss is bound to by its spacing; None: any number."""
    spacing = getattr(getattr(loss, "contour", loss), "spacing", None)
    return len(spacing) if spacing else None


def check_smoke(make: Make, kind: str, shape: tuple[int, ...]) -> None:
    logits, target = example(kind, shape)
    value = make()(logits.requires_grad_(), target)
    value.backward()
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert 0 <= value < torch.inf
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad.any()


def check_half_precision(make: Make, kind: str, dtype: torch.dtype) -> None:
    logits, target = example(kind, SHAPES["3-D"], dtype)
    exact = logits.float().requires_grad_()
    expected = make()(exact, target)
    expected.backward()
    assert exact.grad is not None
    for backward_inside in (False, True):
        x = logits.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = make()(x, target)
            if backward_inside:
                value.backward()
        if not backward_inside:
            value.backward()
        assert value.dtype == torch.float32
        assert x.grad is not None
        assert x.grad.dtype == dtype
        assert value.item() == pytest.approx(expected.item(), rel=1e-6), "all arithmetic is in float32"
        assert torch.allclose(x.grad.float(), exact.grad, atol=TOLERANCE[dtype], rtol=TOLERANCE[dtype])


def check_autocast(make: Make, kind: str) -> None:
    """Neither forward nor backward inside of autocast loses a digit of float32."""
    logits, target = example(kind, SHAPES["3-D"])
    gradients = []
    for enabled in (False, True):
        x = logits.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            make()(x, target).backward()
        assert x.grad is not None
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def check_target_dtype(make: Make, dtype: torch.dtype) -> None:
    for kind in ("labels", "regions"):
        logits, target = example(kind, SHAPES["3-D"])
        assert torch.equal(make()(logits, target.to(dtype)), make()(logits, target))


def check_one_hot(make: Make) -> None:
    """One-hot labels, as MONAI's users have them, are the labels."""
    logits, target = example("labels", SHAPES["3-D"])
    one_hot = nn.functional.one_hot(target[:, 0].long(), 3).movedim(-1, 1).float()
    expected = make()(logits, target)
    with pytest.warns(UserWarning, match="one-hot"):
        found = make()(logits, one_hot)
    assert torch.equal(found, expected)


def check_memory_format(make: Make, kind: str) -> None:
    """Neither channels-last nor sliced tensors change anything."""
    logits, target = example(kind, SHAPES["3-D"])
    expected = make()(logits, target)
    last = logits.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    wide, wide_target = (x.repeat_interleave(2, -1)[..., ::2] for x in (logits, target))
    assert not wide.is_contiguous()
    assert torch.allclose(make()(last, target), expected, rtol=1e-6)
    assert torch.allclose(make()(wide, wide_target), expected, rtol=1e-6)
    make()(last, target).backward()
    assert last.grad is not None
    again = logits.clone().requires_grad_()
    make()(again, target).backward()
    assert torch.allclose(last.grad, again.grad, atol=1e-8)


def check_exception(make: Make, logits: tuple[int, ...], target: tuple[int, ...], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        make()(torch.zeros(logits), torch.zeros(target))


def check_exception_of_labels(make: Make, label: float, found: str) -> None:
    target = torch.zeros(1, 1, 4, 4, 4)
    target[..., 1] = label
    with pytest.raises(ValueError, match=found):
        make()(torch.zeros(1, 3, 4, 4, 4), target)


def check_ignore_index(make: Make, kind: str) -> None:
    logits, target = example(kind, SHAPES["3-D"], torch.float64)
    loss = make(ignore_label=3)
    if kind.endswith("mask"):
        ignored = target[:, -1:].clone()
    else:
        ignored = torch.rand(target.shape, generator=torch.Generator().manual_seed(2)) < 0.3
        target = target.masked_fill(ignored, 3)
    logits.requires_grad_()
    value = loss(logits, target)
    (gradient,) = torch.autograd.grad(value, logits)
    assert not gradient.masked_select(ignored).any()
    for wildness in (torch.inf, -torch.inf, torch.nan):
        wild = logits.detach().masked_fill(ignored, wildness).requires_grad_()
        again = loss(wild, target)
        (gradient_again,) = torch.autograd.grad(again, wild)
        assert torch.equal(value, again)
        assert torch.equal(gradient, gradient_again)
    if kind.endswith("mask"):
        other = torch.cat((target[:, :-1] ^ ignored, target[:, -1:]), 1)
        assert torch.equal(loss(logits, other), value)


def check_gradcheck(make: Make, kind: str) -> None:
    logits, target = example(kind, (3, 3, 4), torch.float64)
    if kind == "labels":
        target[0, 0, 0] = 3
    loss = make(ignore_label=3)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_(), fast_mode=True)


def check_dynamo(make: Make, kind: str) -> None:
    logits, target = example(kind, SHAPES["3-D"])
    loss = make()
    torch.compiler.reset()
    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    gradients, values = [], []
    for function in (loss, compiled):
        x = logits.clone().requires_grad_()
        values.append(function(x, target))
        gradients.append(torch.autograd.grad(values[-1], x)[0])
    assert torch.allclose(*gradients)
    assert torch.allclose(*values)


def check_module(make: Make) -> None:
    loss = make(ignore_label=7, distributed=True)
    assert not list(loss.parameters()), "a loss of the network's output has nothing to learn"
    assert not loss.state_dict()
    common = [part for part in loss.modules() if hasattr(part, "ignore_label")]
    assert common
    assert all(part.ignore_label == 7 and part.distributed for part in common)
    assert "ignore_label=7" in repr(loss), "a log can say what was trained"


def check_degenerate_patches(make: Make, target: Tensor, scale: float) -> None:
    for batch in (1, 2):
        logits = scale * torch.randn(batch, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        value = make(ignore_label=9)(logits.requires_grad_(), target[:batch])
        value.backward()
        assert value.isfinite()
        assert value >= 0
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def check_predicting_an_absent_class_never_pays(make: Make) -> None:
    target = torch.zeros(1, 1, 6, 6, 6)
    target[..., 3:] = 1
    values = []
    for certainty in (0.0, 1.0, 2.0, 4.0):
        logits = torch.zeros(1, 3, 6, 6, 6)
        logits[:, 0, ..., :3] = logits[:, 1, ..., 3:] = 6.0
        logits[:, 2, :2] = certainty
        values.append(make()(logits, target).item())
    assert values == sorted(values)


def check_convergence(make: Make, kind: str) -> None:
    """After MONAI: one linear layer must fit one tiny volume within 40 Adam steps. Some public losses cannot."""
    labels = torch.zeros(1, 1, 8, 8, 8)
    labels[..., 1:7, 1:7, 1:7] = 1
    target = {"labels": labels.clone(), "binary": labels, "regions": torch.cat((labels, labels), 1)}[kind]
    half = target[:, -1:, 4:] if kind != "binary" else None
    if half is not None:  # a class, or a nested region, that is half of the cube
        half[half > 0] = 2 if kind == "labels" else 0
    channels = {"labels": 3, "regions": 2, "binary": 1}[kind]
    torch.manual_seed(0)
    image = labels.flatten() + 0.1 * torch.randn(512)
    net, loss = nn.Linear(512, channels * 512), make()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(40):
        optimizer.zero_grad()
        loss(net(image).view(1, channels, 8, 8, 8), target).backward()
        optimizer.step()
    logits = net(image).view(1, channels, 8, 8, 8)
    predicted = logits.argmax(1, keepdim=True) if kind == "labels" else logits > 0
    assert torch.equal(predicted, target.to(predicted.dtype))
