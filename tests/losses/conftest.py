from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def golden(shared: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Arrays computed with the authors' released functions, by the file's name."""
    return lambda name: dict(np.load(shared / "golden" / f"{name}.npz"))


@pytest.fixture
def small() -> tuple[Tensor, Tensor]:
    """Float64 logits (2, 3, 5, 4, 6) and labels (2, 1, 5, 4, 6) in blocks, so that a one-voxel rim leaves a core."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 4, 6, generator=generator, dtype=torch.float64)
    labels = torch.zeros(2, 1, 5, 4, 6, dtype=torch.int16)
    labels[0, 0, :, :, 3:] = 1
    labels[0, 0, 3:, 2:, :2] = 2
    labels[1, 0, :3, :3, :4] = 2
    return logits, labels
