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


ILL_SHAPES = {
    "two channels for three": ((1, 3, 4, 4, 4), (1, 2, 4, 4, 4), r"Got: \(1, 2, 4, 4, 4\)"),
    "two samples for one": ((1, 3, 4, 4, 4), (2, 1, 4, 4, 4), r"Got: \(2, 1, 4, 4, 4\)"),
    "another size": ((1, 3, 4, 4, 4), (1, 1, 4, 4, 3), r"Got: \(1, 1, 4, 4, 3\)"),
    "no voxels": ((1, 3), (1, 1), r"Got: \(1, 3\)"),
}
ILL_LABELS = {3: "exceed 2.*Got: 3", -1: "negative.*Got: -1", 0.5: "Got: 0.5"}


def channels_of(kind: str) -> int:
    """Of the logits for a target of that kind."""
    return _CHANNELS.get(kind.split()[0], 3)


def four_samples(kind: str) -> tuple[Tensor, Tensor]:
    """Float64 logits (4, C, 5, 5, 5) and a target with ignored voxels (9, or the mask), more of them in the first half."""
    generator = torch.Generator().manual_seed(0)
    channels = channels_of(kind)
    logits = torch.randn(4, channels, 5, 5, 5, generator=generator, dtype=torch.float64)
    if kind == "regions":
        return logits, torch.rand(4, channels + 1, 5, 5, 5, generator=generator) > 0.5
    labels = torch.randint(0, channels, (4, 1, 5, 5, 5), generator=generator)
    labels[:2, :, :3] = 9
    return logits, labels


def example(kind: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Logits (2, C, *shape) and a target of the kind."""
    generator = torch.Generator().manual_seed(0)
    channels = channels_of(kind)
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
    """A finite scalar >= 0 in float32, and a finite gradient that is not 0."""
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
    """Half-precision logits give what float32 ones do; their gradient has their dtype."""
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


def check_target_dtype(make: Make, kind: str, dtype: torch.dtype) -> None:
    """A target means the same in every dtype."""
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
    assert again.grad is not None
    assert torch.allclose(last.grad, again.grad, atol=1e-8)


def check_exception(make: Make, logits: tuple[int, ...], target: tuple[int, ...], found: str) -> None:
    """Ill shapes are a ValueError, whose message says what was found."""
    with pytest.raises(ValueError, match=found or None):
        make()(torch.zeros(logits), torch.zeros(target))


def check_exception_of_labels(make: Make, label: float, found: str) -> None:
    """So are labels that the network has no channel for."""
    target = torch.zeros(1, 1, 4, 4, 4)
    target[..., 1] = label
    with pytest.raises(ValueError, match=found or None):
        make()(torch.zeros(1, 3, 4, 4, 4), target)


def check_ignore_index(make: Make, kind: str) -> None:
    """Ignored voxels touch neither value nor gradient, whatever the network says there."""
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
    """The gradient is that of the value, in float64."""
    logits, target = example(kind, (3, 3, 4), torch.float64)
    if kind == "labels":
        target[0, 0, 0] = 3
    loss = make(ignore_label=3)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_(), fast_mode=True)


def check_dynamo(make: Make, kind: str) -> None:
    """torch.compile gets the same, and traces it whole: not before torch 2.6, whose tracer knows too little of Python."""
    logits, target = example(kind, SHAPES["3-D"])
    loss = make()
    torch.compiler.reset()
    whole = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)
    compiled = torch.compile(loss, backend="eager", fullgraph=whole)
    gradients, values = [], []
    for function in (loss, compiled):
        x = logits.clone().requires_grad_()
        values.append(function(x, target))
        gradients.append(torch.autograd.grad(values[-1], x)[0])
    assert torch.allclose(gradients[0], gradients[1])
    assert torch.allclose(values[0], values[1])


def check_module(make: Make) -> None:
    """A loss of the network's output has nothing to learn and nothing to save."""
    loss = make(ignore_label=7, distributed=True)
    assert not list(loss.parameters()), "a loss of the network's output has nothing to learn"
    assert not loss.state_dict()


def check_settings(make: Make) -> None:
    """The arguments that all losses have reach every part, and a log can show them."""
    loss = make(ignore_label=7, distributed=True)
    common = [part for part in loss.modules() if hasattr(part, "ignore_label")]
    assert common
    assert all(part.ignore_label == 7 and part.distributed for part in common)
    assert "ignore_label=7" in repr(loss), "a log can say what was trained"


def check_deep_supervision(make: Make, kind: str) -> None:
    """nnU-Net calls one loss for every scale, coarse ones too, and in validation: no call may depend on those before."""
    loss = make()
    scales = [example(kind, shape) for shape in ((8, 8, 8), (4, 4, 4), (4, 8, 8))]
    alone = [make()(logits, target) for logits, target in scales]
    logits = [scale[0].requires_grad_() for scale in scales]
    values = [loss(x, target) for x, (_, target) in zip(logits, scales, strict=True)]
    with torch.no_grad():
        loss(*scales[1])
    torch.stack(values).sum().backward()
    assert torch.allclose(torch.stack(values), torch.stack(alone))
    assert all(x.grad is not None and x.grad.isfinite().all() and x.grad.any() for x in logits)


def check_degenerate_patches(make: Make, target: Tensor, scale: float) -> None:
    """Background alone, one class, all ignored, no region, all regions: defined, with a finite gradient."""
    for batch in (1, 2):
        logits = scale * torch.randn(batch, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        value = make(ignore_label=9)(logits.requires_grad_(), target[:batch])
        value.backward()
        assert value.isfinite()
        assert value >= 0
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


def check_predicting_an_absent_class_never_pays(make: Make) -> None:
    """The surer the network is of a class that is not there, the more it costs."""
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
