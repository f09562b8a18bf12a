"""Every loss of logits that the package offers, with its variants: found, not listed, so that no new one can be missed."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from nnunet_fess import losses

# Arguments that say what the target is and where it is summed up, not which loss it is.
_OF_THE_TARGET = {"ignore_label", "distributed", "target_kind"}
# Thin rims, so that the small examples of the tests have contour and rest.
_CONTOURS = {
    "": losses.Contour(1),
    "released": losses.Contour(1, "released"),
    "adaptive": losses.Contour(2, adaptive=True),
    "mm": losses.Contour(thickness_mm=1.0, spacing=(1.0, 1.0, 1.0)),
}
# Their docstrings say why: they may be negative.
_FOR_COMPARISON_ONLY = {"GDLoss released", "RegionWiseLoss released"}


class WithEmbeddings(nn.Module):
    """A loss that needs embeddings, too, given fixed ones."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        self.present, self.previous = torch.randn(2, 2, 4, 3, 3, 3, generator=torch.Generator().manual_seed(1))

    def forward(self, net_output: Tensor, target: Tensor) -> Tensor:
        return self.loss(net_output, target, self.present, self.previous)


def classes() -> list[type[nn.Module]]:
    """The public losses that are called with (net_output, target) first; the families that they derive from are not losses."""
    public = (getattr(losses, name) for name in losses.__all__)
    return [cls for cls in public if isinstance(cls, type) and issubclass(cls, nn.Module) and _takes_logits(cls)]


def every_loss() -> dict[str, Callable[..., nn.Module]]:
    """Name → how to make it, given the arguments that all losses have."""
    found = {
        f"{cls.__name__} {variant}".strip(): _maker(cls, options)
        for cls in classes()
        for variant, options in _variants(cls).items()
    }
    return {name: make for name, make in found.items() if name not in _FOR_COMPARISON_ONLY}


def _takes_logits(cls: type[nn.Module]) -> bool:
    families = (losses.SpatialLoss, losses.SumsLoss, losses.VoxelLoss)
    return cls not in families and [*inspect.signature(cls.forward).parameters][1:3] == ["net_output", "target"]


def _variants(cls: type[nn.Module]) -> dict[str, dict[str, Any]]:
    """The default, and one more for every value that a switch of the loss may have."""
    parameters = inspect.signature(cls.__init__).parameters
    hints = get_type_hints(cls.__init__, localns={"Unpack": list}) if parameters else {}
    found: dict[str, dict[str, Any]] = {"": {}}
    for name in parameters.keys() - _OF_THE_TARGET:
        default, hint = parameters[name].default, hints.get(name)
        if name == "contour":
            found |= {variant: {"contour": contour} for variant, contour in _CONTOURS.items()}
        elif isinstance(default, bool):
            found[name if not default else f"no {name}"] = {name: not default}
        elif get_origin(hint) is Literal:
            found |= {f"{value}": {name: value} for value in get_args(hint) if value != default}
    if "contour" in parameters:
        found = {variant: {"contour": _CONTOURS[""]} | options for variant, options in found.items()}
    return dict(sorted(found.items()))


def _maker(cls: type[nn.Module], options: dict[str, Any]) -> Callable[..., nn.Module]:
    def make(**common: Any) -> nn.Module:
        loss = cls(**options | common)
        return WithEmbeddings(loss) if "present" in inspect.signature(cls.forward).parameters else loss

    return make
