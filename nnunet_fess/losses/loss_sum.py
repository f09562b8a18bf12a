"""Losses that are the sum of two others: Dice with TopK, Dice with focal, generalised Dice with focal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from nnunet_fess.losses.dice import DiceLoss
from nnunet_fess.losses.focal import FocalLoss
from nnunet_fess.losses.generalized_dice import GDLoss
from nnunet_fess.losses.spatial import Common, SpatialLoss
from nnunet_fess.losses.target import Target
from nnunet_fess.losses.top_k import TopKLoss

if TYPE_CHECKING:
    from typing_extensions import Unpack


class LossSum(SpatialLoss):
    """The components of several losses of one target, which is parsed once.

    Args:
        parts: the losses.
        common: the arguments of `SpatialLoss`, the same as the parts'.
    """

    def __init__(self, *parts: SpatialLoss, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.parts = nn.ModuleList(parts)

    @property
    def _losses(self) -> list[SpatialLoss]:
        return [part for part in self.parts if isinstance(part, SpatialLoss)]

    def maps(self, target: Target) -> dict[str, Tensor]:
        """Those of all parts, under the part's number where two have maps of one name."""
        found: dict[str, Tensor] = {}
        for number, part in enumerate(self._losses):
            found |= {f"{number} {name}": drawn for name, drawn in part.maps(target).items()}
        return found

    def components(self, net_output: Tensor, target: Target, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of all parts."""
        found: dict[str, Tensor] = {}
        for number, part in enumerate(self._losses):
            own = {name.split(" ", 1)[1]: drawn for name, drawn in maps.items() if name.startswith(f"{number} ")}
            found |= part.components(net_output, target, own)
        return found


class DiceTopKLoss(LossSum):
    """`DiceLoss` + `TopKLoss`, nnU-Net's loss with the hardest voxels alone in its cross entropy.

    Args:
        k: of `TopKLoss`.
        batch_dice: of `DiceLoss`.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as the two.
    """

    def __init__(self, k: float = 10.0, *, batch_dice: bool = False, **common: Unpack[Common]) -> None:
        super().__init__(DiceLoss(batch_dice=batch_dice, **common), TopKLoss(k, **common), **common)


class DiceFocalLoss(LossSum):
    """`DiceLoss` + `FocalLoss`.

    Args:
        gamma: of `FocalLoss`.
        batch_dice: of `DiceLoss`.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as the two.
    """

    def __init__(self, gamma: float = 2.0, *, batch_dice: bool = False, **common: Unpack[Common]) -> None:
        super().__init__(DiceLoss(batch_dice=batch_dice, **common), FocalLoss(gamma, **common), **common)


class GDLFocalLoss(LossSum):
    """`GDLoss` + `FocalLoss`; for regions (sigmoid) of the kind of Wen et al. 2023, FGD-BCE.

    Args:
        gamma: of `FocalLoss`.
        batch_dice: of `GDLoss`.
        common: the arguments of `SpatialLoss`.

    Raises:
        ValueError: as the two.
    """

    def __init__(self, gamma: float = 2.0, *, batch_dice: bool = False, **common: Unpack[Common]) -> None:
        super().__init__(GDLoss(batch_dice=batch_dice, **common), FocalLoss(gamma, **common), **common)
