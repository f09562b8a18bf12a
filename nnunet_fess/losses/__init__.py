"""Losses; torch only, usable without nnU-Net.

A spatial loss is called with (net_output, target), a feature loss with embeddings. `SpatialLoss` describes the arguments
and shapes that all spatial losses share; `SumsLoss` and `VoxelLoss` are the two families to derive a new one from.
"""

from nnunet_fess.losses.cc_dice import CCDiceLoss
from nnunet_fess.losses.contour_weighted import ContourWeightedCrossEntropyLoss
from nnunet_fess.losses.cross_entropy import CrossEntropyLoss
from nnunet_fess.losses.cwcd import CWCDLoss
from nnunet_fess.losses.dice import DiceLoss
from nnunet_fess.losses.dice_ce import DiceCELoss
from nnunet_fess.losses.dice_cwce import DiceCWCELoss
from nnunet_fess.losses.distance_weighted import DistanceWeightedCrossEntropyLoss
from nnunet_fess.losses.feature.fess_contrastive import FESSContrastiveLoss, fess_contrastive_loss
from nnunet_fess.losses.feature.nt_xent import nt_xent_loss
from nnunet_fess.losses.feature.pixel_con import pixel_con_loss
from nnunet_fess.losses.feature.prototypes import prototype_loss
from nnunet_fess.losses.feature.sup_con import sup_con_loss
from nnunet_fess.losses.fess import FESSLoss
from nnunet_fess.losses.focal import FocalLoss
from nnunet_fess.losses.fuzzy_rough import FuzzyRoughLoss
from nnunet_fess.losses.generalized_dice import GDLoss
from nnunet_fess.losses.generalized_surface import GeneralizedSurfaceLoss
from nnunet_fess.losses.hausdorff import HausdorffDTLoss, HausdorffOSLoss
from nnunet_fess.losses.hausdorff_convolution import HausdorffCVLoss
from nnunet_fess.losses.hausdorff_erosion import HausdorffERLoss
from nnunet_fess.losses.loss_sum import DiceFocalLoss, DiceTopKLoss, GDLFocalLoss
from nnunet_fess.losses.maps.contour import Contour, contour_map
from nnunet_fess.losses.maps.distance import distance_to_border, distance_transform
from nnunet_fess.losses.maps.region_wise import active_contour_map, boundary_map, rrw_map
from nnunet_fess.losses.maps.voronoi import voronoi_cells
from nnunet_fess.losses.region_wise import RegionWiseLoss
from nnunet_fess.losses.separable_dice import SeparableDiceLoss
from nnunet_fess.losses.spatial import SpatialLoss
from nnunet_fess.losses.sums_loss import SumsLoss
from nnunet_fess.losses.top_k import TopKLoss
from nnunet_fess.losses.tversky import FocalTverskyLoss, TverskyLoss
from nnunet_fess.losses.voxel_loss import VoxelLoss
from nnunet_fess.losses.weighted_cross_entropy import WeightedCrossEntropyLoss

__all__ = [
    "CCDiceLoss",
    "CWCDLoss",
    "Contour",
    "ContourWeightedCrossEntropyLoss",
    "CrossEntropyLoss",
    "DiceCELoss",
    "DiceCWCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "DiceTopKLoss",
    "DistanceWeightedCrossEntropyLoss",
    "FESSContrastiveLoss",
    "FESSLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "FuzzyRoughLoss",
    "GDLFocalLoss",
    "GDLoss",
    "GeneralizedSurfaceLoss",
    "HausdorffCVLoss",
    "HausdorffDTLoss",
    "HausdorffERLoss",
    "HausdorffOSLoss",
    "RegionWiseLoss",
    "SeparableDiceLoss",
    "SpatialLoss",
    "SumsLoss",
    "TopKLoss",
    "TverskyLoss",
    "VoxelLoss",
    "WeightedCrossEntropyLoss",
    "active_contour_map",
    "boundary_map",
    "contour_map",
    "distance_to_border",
    "distance_transform",
    "fess_contrastive_loss",
    "nt_xent_loss",
    "pixel_con_loss",
    "prototype_loss",
    "rrw_map",
    "sup_con_loss",
    "voronoi_cells",
]
