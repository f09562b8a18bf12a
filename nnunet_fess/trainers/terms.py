"""Builds the loss terms that the catalogue names, for one nnU-Net dataset and configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from nnunet_fess.losses import CWCDLoss, DiceLoss
from nnunet_fess.trainers.composed_loss import FESSFeature
from nnunet_fess.trainers.naming import TrainerName


@dataclass(frozen=True)
class Host:
    """What nnU-Net knows and a loss has to: the names of `nnunet_fess.losses`' keyword arguments.

    Attributes:
        batch_dice: sum Dice over the batch instead of averaging samples (nnU-Net's plans decide).
        ignore_label: label whose voxels do not count; None without one, and with regions, which carry a mask instead.
        distributed: sum batch Dice over all DDP ranks.
    """

    batch_dice: bool
    ignore_label: int | None
    distributed: bool


# DiceCE is not here: it is nnU-Net's own loss, and nnU-Net builds it.
SPATIAL_TERMS: dict[str, Callable[[TrainerName, Host], nn.Module]] = {
    "Dice": lambda name, host: DiceLoss(
        batch_dice=host.batch_dice, ignore_label=host.ignore_label, distributed=host.distributed
    ),
    "CWCD": lambda name, host: CWCDLoss(
        batch_dice=host.batch_dice, ignore_label=host.ignore_label, distributed=host.distributed
    ),
}
FEATURE_TERMS: dict[str, Callable[[TrainerName], nn.Module]] = {
    "FESS": lambda name: FESSFeature(temperature=float(name["temp"] or 0), learning_rate=float(name["eta"] or 0)),
}
