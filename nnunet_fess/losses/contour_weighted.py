"""Cross entropy that counts contour voxels more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from nnunet_fess.losses import released
from nnunet_fess.losses.bounds import check_number
from nnunet_fess.losses.contour_loss import ContourLoss, ContourLossOptions
from nnunet_fess.losses.maps.contour import Contour
from nnunet_fess.losses.sums import ClassSums

if TYPE_CHECKING:
    from typing_extensions import Unpack


def check_contour_weight(contour_weight: float) -> None:
    """Raise ValueError if contour voxels would weigh less than others."""
    check_number("contour_weight", contour_weight, least=0)


def contour_weight_map(contour: Tensor, contour_weight: float) -> Tensor:
    """Weight of every voxel, float32, for the eye: 1, and contour_weight more on the contour."""
    return 1 + contour_weight * contour.float()


def contour_weighted_cross_entropy(sums: ClassSums, contour_weight: float) -> Tensor:
    """Σ w·CE / N of sums that were divided by the contour: no map of weights is needed for it."""
    return sums.mean_cross_entropy_of_parts(1.0, 1.0 + contour_weight)


class ContourWeightedCrossEntropyLoss(ContourLoss):
    r"""Contour-weighted cross entropy (CWCE).

    .. math:: L = -\frac{1}{N} \sum_j \sum_i w_i g_{ij} \log p_{ij}, \quad w_i = 1 + w_c [i \in C]

    with C the contour of all classes, background included (for regions: of that channel), see `contour_map`.

    Args:
        contour_weight: w_c, what a contour voxel weighs more than the others' 1.
        contour: which voxels are contour; None: 6 voxels on either side of a border. Its convention is the loss's:
            "paper": as above. "released": the plain cross entropy is added, and array borders are contour.
        options: the arguments of `SpatialLoss`, and those of `Contour` in place of one: `iterations=3`.

    Raises:
        ValueError: ill shapes or labels, a negative contour_weight, a contour and options for one.

    Source: arXiv 2407.06176, equation of CWCE.
    """

    overlap = False

    def __init__(
        self,
        contour_weight: float = 2.0,
        contour: Contour | None = None,
        **options: Unpack[ContourLossOptions],
    ) -> None:
        super().__init__(contour, options)
        check_contour_weight(contour_weight)
        self.contour_weight = contour_weight

    def voxel_weight(self, maps: dict[str, Tensor]) -> Tensor:
        """1 + w_c on the contour."""
        return contour_weight_map(maps["contour"], self.contour_weight)

    def formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """Σ w·CE / N."""
        return {"cwce": contour_weighted_cross_entropy(sums, self.contour_weight)}

    def released_formula(self, sums: ClassSums) -> dict[str, Tensor]:
        """Σ w·CE / N + Σ CE / N."""
        return {"cwce": released.contour_weighted_cross_entropy(sums, self.contour_weight)}
