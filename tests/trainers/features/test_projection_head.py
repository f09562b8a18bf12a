from __future__ import annotations

import torch
from torch import nn

from nnunet_fess.trainers.features.projection_head import ProjectionHead


def test_infinity_does_not_pass_the_heads_relu():
    head = ProjectionHead(4)
    nn.init.constant_(head[0].weight, 1.0)
    projected = head(torch.tensor([[-float("inf"), 0, 0, 0], [0, 0, 0, 1]]))
    assert projected.isfinite().all(1).tolist() == [False, True]


def test_the_head_projects_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ProjectionHead(4)(torch.randn(2, 4, dtype=torch.bfloat16)).dtype == torch.float32


def test_a_backward_inside_of_autocast_keeps_the_heads_gradient():
    torch.manual_seed(0)
    head, pooled = ProjectionHead(4), torch.randn(8, 4)
    gradients = []
    for enabled in (False, True):
        head.zero_grad()
        x = pooled.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            head(x).square().sum().backward()
        gradients.append([x.grad, *(parameter.grad.clone() for parameter in head.parameters())])
    for exact, found in zip(*gradients, strict=True):
        assert torch.equal(found, exact)


def test_the_head_is_its_layers():
    head, pooled = ProjectionHead(4), torch.randn(8, 4)
    torch.testing.assert_close(head(pooled), nn.Sequential(*head)(pooled))
