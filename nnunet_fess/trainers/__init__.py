"""nnU-Net trainers by name: `nnunet_fess.trainers.nnUNetTrainerFESS_lambda0p8` is made when it is asked for.

The names are read by `naming`, what they may say is in `catalogue`; both are free of torch. `build` turns a name into a class.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from nnunet_fess.trainers.errors import NameRefused, NotOurs
from nnunet_fess.trainers.naming import TrainerName, parse
from nnunet_fess.trainers.registry import registry

if TYPE_CHECKING:
    from nnunet_fess.trainers.catalogue import Catalogue
    from nnunet_fess.trainers.composed_trainer import ComposedTrainer

__all__ = ["NameRefused", "NotOurs", "TrainerName", "build", "parse"]


def build(name: str) -> type[ComposedTrainer]:
    """The trainer class of a name, the same one at every call.

    Args:
        name: such as ``nnUNetTrainerFESS_lambda0p8_100epochs``.

    Raises:
        NameRefused: see `parse`.
    """
    return build_from(name, registry().catalogue)


@cache
def build_from(name: str, catalogue: Catalogue) -> type[ComposedTrainer]:
    """The same of other terms than those that are installed."""
    parsed = parse(name, catalogue)
    from nnunet_fess.trainers.host_version import require_nnunet

    require_nnunet()
    from nnunet_fess.trainers.composed_trainer import ComposedTrainer

    # __module__ says where pickle finds the class again: here, through __getattr__.
    return type(name, (ComposedTrainer,), {"trainer_name": parsed, "__module__": __name__, "__doc__": parsed.loss.summary})


def __getattr__(name: str) -> type[ComposedTrainer]:
    try:
        return build(name)
    except NameRefused as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from error
