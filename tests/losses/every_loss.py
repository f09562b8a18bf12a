"""Every loss of logits that the package has, with its variants: found in its files, so that no new one can be missed."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

from nnunet_fess import losses
from nnunet_fess.losses.contour_loss import ContourLoss
from nnunet_fess.losses.distance_loss import DistanceLoss
from nnunet_fess.losses.loss_sum import LossSum

# What losses derive from.
_FAMILIES = (losses.SpatialLoss, losses.SumsLoss, losses.VoxelLoss, ContourLoss, DistanceLoss, LossSum)
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
    """The losses that are called with (net_output, target) first, whether `nnunet_fess.losses` exports them or not."""
    files = pkgutil.walk_packages(losses.__path__, f"{losses.__name__}.")
    modules = [importlib.import_module(file.name) for file in files]
    found = [
        thing for module in modules for thing in vars(module).values() if getattr(thing, "__module__", "") == module.__name__
    ]
    return sorted((cls for cls in found if isinstance(cls, type) and _is_loss(cls)), key=lambda cls: cls.__name__)


def every_loss() -> dict[str, Callable[..., nn.Module]]:
    """Name → how to make it, given the arguments that all losses have."""
    found = {
        f"{cls.__name__} {variant}".strip(): _maker(cls, options)
        for cls in classes()
        for variant, options in _variants(cls).items()
    }
    return {name: make for name, make in found.items() if name not in _FOR_COMPARISON_ONLY}


def _is_loss(cls: type) -> bool:
    public = issubclass(cls, nn.Module) and not cls.__name__.startswith("_") and cls not in _FAMILIES
    return public and [*inspect.signature(cls.forward).parameters][1:3] == ["net_output", "target"]


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
    if issubclass(cls, losses.SumsLoss) and cls.released_formula is losses.SumsLoss.released_formula:
        found.pop("released", None)
    if "contour" in parameters:
        found = {variant: {"contour": _CONTOURS[""]} | options for variant, options in found.items()}
    return dict(sorted(found.items()))


def _maker(cls: type[nn.Module], options: dict[str, Any]) -> Callable[..., nn.Module]:
    def make(**common: Any) -> nn.Module:
        loss = cls(**options | common)
        return WithEmbeddings(loss) if "present" in inspect.signature(cls.forward).parameters else loss

    return make
