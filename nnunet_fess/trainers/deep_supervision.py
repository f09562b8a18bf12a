"""Whether a network has outputs at several scales, asked of the network itself: plans can name any."""

from __future__ import annotations

from torch import nn


def has_deep_supervision(network: nn.Module) -> bool:
    """Several scales, or at least a switch for them where nnU-Net looks for it.

    Args:
        network: unwrapped. Its attribute `has_deep_supervision` decides; without one, the switch `decoder.deep_supervision`.
    """
    told = getattr(network, "has_deep_supervision", None)
    return has_switch(network) if told is None else bool(told)


def has_switch(network: nn.Module) -> bool:
    """`decoder.deep_supervision`, which nnU-Net sets before training, validation and prediction."""
    return hasattr(getattr(network, "decoder", None), "deep_supervision")
