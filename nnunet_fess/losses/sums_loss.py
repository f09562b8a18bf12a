"""The family of losses that are a formula on a few sums over voxels: Dice, cross entropy, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.spatial import Common, SpatialLoss
from nnunet_fess.losses.sums import ClassSums, class_sums
from nnunet_fess.losses.target import Convention, Target, check_convention

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SumsLoss(SpatialLoss):
    """A formula on `ClassSums`; a subclass writes that down and may add maps.

    Of its `maps`, the sums use three by name: "contour" (bool) divides the voxels into two parts, "weight" multiplies the
    cross entropy, "phi" the probabilities (`ClassSums.mapped`). A formula without hit, missed and false says `overlap = False`
    in its class, one without cross entropy `entropy = False`, and neither is computed.

    Args:
        convention: "paper": `formula`; "released": `released_formula`, what the authors' code computes, for comparison.
        batch_dice: sum over the batch before the Dice ratio is taken, else a ratio per sample.
        smooth: ε of the Dice ratio, at least 1e-6 (float32 must keep the ratio of an empty class defined).
        common: the arguments of `SpatialLoss`; distributed, cross entropy and `mapped` always, Dice if `batch_dice`.

    Raises:
        ValueError: as `SpatialLoss`; a smooth below 1e-6, an unknown convention.
    """

    # Which sums the formula reads; the others are not computed.
    overlap = True
    entropy = True

    def __init__(
        self,
        *,
        convention: Convention = "paper",
        batch_dice: bool = False,
        smooth: float = 1e-5,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        check_convention(convention)
        check_number("smooth", smooth, least=1e-6)
        self.convention = convention
        self.batch_dice = batch_dice
        self.smooth = smooth
        self.do_bg = False

    def components(self, net_output: Tensor, target: Target, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """The formula's values."""
        known = {name: maps[name] for name in ("contour", "weight", "phi") if name in maps}
        sums = class_sums(net_output, target, **known, background=self.do_bg, overlap=self.overlap, entropy=self.entropy)
        sums = sums.over_batch(self.batch_dice, self.distributed)
        return self.formula(sums) if self.convention == "paper" else self.released_formula(sums)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """The components, by name, as functions of the sums."""
        raise NotImplementedError

    def released_formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """The same as the authors' code computes them, see `nnunet_fess.losses.released`."""
        raise NotImplementedError(f"{type(self).__name__} has no released form")
