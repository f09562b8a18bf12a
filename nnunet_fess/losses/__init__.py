"""Losses; torch only, usable without nnU-Net.

A spatial loss is called with (net_output, target), a feature loss with embeddings. `SpatialLoss` describes the arguments
and shapes that all spatial losses share; `SumsLoss` and `VoxelLoss` are the two families to derive a new one from.
"""

from nnunet_fess.losses.contour_weighted import ContourWeightedCrossEntropyLoss
from nnunet_fess.losses.cross_entropy import CrossEntropyLoss
from nnunet_fess.losses.cwcd import CWCDLoss
from nnunet_fess.losses.dice import DiceLoss
from nnunet_fess.losses.dice_ce import DiceCELoss
from nnunet_fess.losses.distance_weighted import DistanceWeightedCrossEntropyLoss
from nnunet_fess.losses.feature.fess_contrastive import FESSContrastiveLoss, fess_contrastive_loss
from nnunet_fess.losses.feature.nt_xent import nt_xent_loss
from nnunet_fess.losses.feature.sup_con import sup_con_loss
from nnunet_fess.losses.fess import FESSLoss
from nnunet_fess.losses.generalized_dice import GDLoss
from nnunet_fess.losses.maps.contour import Contour, contour_map
from nnunet_fess.losses.separable_dice import SeparableDiceLoss
from nnunet_fess.losses.spatial import SpatialLoss
from nnunet_fess.losses.sums_loss import SumsLoss
from nnunet_fess.losses.voxel_loss import VoxelLoss

__all__ = [
    "CWCDLoss",
    "Contour",
    "ContourWeightedCrossEntropyLoss",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceLoss",
    "DistanceWeightedCrossEntropyLoss",
    "FESSContrastiveLoss",
    "FESSLoss",
    "GDLoss",
    "SeparableDiceLoss",
    "SpatialLoss",
    "SumsLoss",
    "VoxelLoss",
    "contour_map",
    "fess_contrastive_loss",
    "nt_xent_loss",
    "sup_con_loss",
]
