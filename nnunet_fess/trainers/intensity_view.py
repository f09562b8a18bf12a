"""Another view of a batch: the same anatomy, other intensities. Made on the batch's device."""

from __future__ import annotations

import torch
from torch import Tensor


def intensity_view(image: Tensor, image_channels: int) -> Tensor:
    r"""Contrast, gamma, brightness and noise at random, per sample and channel.

    .. math:: x' = m + c (x_γ - m) + b σ + n σ ε, \quad x_γ = r \left(\frac{x - x_{min}}{r}\right)^γ + x_{min}

    with m, σ, x_min, r mean, standard deviation, minimum and range of the channel, ε standard normal per voxel; contrast c in
    0.75 … 1.25, brightness b in ±0.2, noise n in 0 … 0.2, log γ in ±0.35: about the ranges of nnU-Net's own augmentation, which
    leaves most batches' intensities alone. Nothing moves, so labels and positions stay.

    Args:
        image: (B, channels, *spatial), as the network gets it.
        image_channels: the first so many channels are images; what follows in a cascade are labels and stays as it is.

    Returns:
        same shape and dtype, without graph.
    """
    x = image[:, :image_channels].detach()
    shape = (*x.shape[:2], *[1] * (x.ndim - 2))

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(shape, device=x.device, dtype=x.dtype).uniform_(low, high)

    axes = tuple(range(2, x.ndim))
    low, high = x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)
    spread = (high - low).clamp_min(1e-6)
    std, mean = torch.std_mean(x, axes, keepdim=True)
    bent = ((x - low) / spread).pow(uniform(-0.35, 0.35).exp()) * spread + low
    view = mean + (bent - mean) * uniform(0.75, 1.25) + uniform(-0.2, 0.2) * std
    view = view + torch.randn_like(x) * (uniform(0, 0.2) * std)
    return torch.cat([view, image[:, image_channels:].detach()], 1)
