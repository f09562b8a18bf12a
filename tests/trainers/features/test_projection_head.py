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
