"""Training passes of a small encoder that is known in closed form, for the tests of feature losses."""

from __future__ import annotations

import torch

from nnunet_fess.trainers.embedding_tap import TrainingPass

LOGITS = torch.zeros(2, 3, 8, 8)  # only the shape counts


def encode(image: torch.Tensor) -> list[torch.Tensor]:
    """Two stages, of 1 and 4 channels."""
    first = image.sin()
    return [first, torch.cat([first, image, image**2, -first], 1)[:, :, ::4, ::4]]


def decode(image: torch.Tensor) -> torch.Tensor:
    """A last feature map of 4 channels, as large as the image."""
    return torch.cat([image.cos(), image, image**2, image.sin()], 1)


def seen(seed: int = 0, cases: list[str] | None = None) -> TrainingPass:
    image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return TrainingPass(image, encode(image), encode, decode(image), cases)


def target(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 3, (2, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
