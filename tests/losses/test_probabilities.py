from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nnunet_fess.losses import DiceCELoss
from nnunet_fess.losses.probabilities import cross_entropy, sigmoid, softmax

LABELS = torch.randint(0, 4, (2, 1, 3, 4, 5), generator=torch.Generator().manual_seed(0))
FUNCTIONS = {"softmax": softmax, "sigmoid": sigmoid, "cross entropy": lambda x: cross_entropy(x, LABELS)}
TORCH = {
    "softmax": lambda x: x.softmax(1),
    "sigmoid": torch.sigmoid,
    "cross entropy": lambda x: F.cross_entropy(x, LABELS[:, 0], reduction="none")[:, None],
}


def logits(scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(2, 4, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("scale", [1.0, 100.0])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
def test_value_and_gradient_are_torchs(name, scale, memory_format):
    found = []
    for function in (FUNCTIONS[name], TORCH[name]):
        x = logits(scale).contiguous(memory_format=memory_format).requires_grad_()
        value = function(x)
        weight = torch.arange(value.numel(), dtype=value.dtype).view_as(value)
        found.append((value, torch.autograd.grad((value * weight).sum(), x)[0]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_float32_keeps_its_digits_where_a_prediction_is_certain(name):
    gradients = []
    for dtype in (torch.float32, torch.float64):
        x = (logits() + 25 * F.one_hot(LABELS[:, 0].roll(1, 0), 4).movedim(-1, 1)).float().to(dtype).requires_grad_()
        value = FUNCTIONS[name](x)
        weight = torch.arange(1, value.numel() + 1).view_as(value).to(dtype)
        gradients.append(torch.autograd.grad((value * weight).sum(), x)[0])
    assert gradients[1].all()
    torch.testing.assert_close(gradients[0].double(), gradients[1], rtol=1e-4, atol=0)


def test_the_cross_entropy_of_a_certain_voxel_is_not_0():
    x = torch.tensor([25.0, 0.0]).view(1, 2, 1)
    assert cross_entropy(x, torch.zeros(1, 1, 1)).item() == pytest.approx(1.3888e-11, rel=1e-4, abs=0)


def test_classes_that_a_network_rules_out_have_no_gradient():
    x = torch.tensor([0.0, -torch.inf, -torch.inf]).view(1, 3, 1).requires_grad_()
    value = cross_entropy(x, torch.zeros(1, 1, 1))
    value.sum().backward()
    assert value.item() == 0
    assert not x.grad.any()


def test_a_block_or_many_are_the_same():
    x = torch.randn(1, 2, 70_000, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = torch.randint(0, 2, (1, 1, 70_000), generator=torch.Generator().manual_seed(3))
    whole, cut = (x.clone().requires_grad_() for _ in range(2))
    (softmax(whole)[:, :1] * cross_entropy(whole, y)).sum().backward()
    (cut.softmax(1)[:, :1] * F.cross_entropy(cut, y[:, 0], reduction="none")[:, None]).sum().backward()
    torch.testing.assert_close(whole.grad, cut.grad)


@pytest.mark.parametrize("classes", [3, 300])
def test_labels_are_only_read(classes):
    logits = torch.randn(2, classes, 5, 7, requires_grad=True)
    labels = torch.randint(0, classes, (2, 1, 5, 7))
    before = labels.clone()
    cross_entropy(logits, labels).sum().backward()
    DiceCELoss()(logits, labels).backward()
    assert torch.equal(labels, before)
