"""The map terms: losses that weigh the output by a map of the labels. A builder imports its loss when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_fess.plugin import Host, MapTerm, Option, Settings, above

if TYPE_CHECKING:
    from torch import nn

CAP = Option("cap", "capX", None, "mm; what is further from a border counts as if it were that far", accepts=above(0))
# In the order in which a name gives them; a new one takes any place, it moves no other.
OPTIONS: tuple[Option, ...] = (CAP,)
# Their authors use them with a region loss only.
UNSTABLE_ALONE = frozenset({"Boundary", "HausdorffDT", "HausdorffOS", "HausdorffER", "HausdorffCV"})


def rrw(settings: Settings, host: Host) -> nn.Module:
    """Rectified region-wise loss."""
    from nnunet_fess.losses.region_wise import RegionWiseLoss

    return RegionWiseLoss("rrw", **host.grid, **host.common)


def boundary(settings: Settings, host: Host) -> nn.Module:
    """Boundary loss."""
    from nnunet_fess.losses.region_wise import RegionWiseLoss

    return RegionWiseLoss("boundary", cap=_cap(settings), **host.grid, **host.common)


def active_contour(settings: Settings, host: Host) -> nn.Module:
    """Region-wise loss with the active-contour map."""
    from nnunet_fess.losses.region_wise import RegionWiseLoss

    return RegionWiseLoss("active_contour", **host.grid, **host.common)


def gsl(settings: Settings, host: Host) -> nn.Module:
    """Generalised surface loss."""
    from nnunet_fess.losses.generalized_surface import GeneralizedSurfaceLoss

    return GeneralizedSurfaceLoss(cap=_cap(settings), **host.grid, **host.dice)


def fuzzy_rough(settings: Settings, host: Host) -> nn.Module:
    """Fuzzy-rough boundary loss."""
    from nnunet_fess.losses.fuzzy_rough import FuzzyRoughLoss

    return FuzzyRoughLoss(**host.grid, **host.common)


def hausdorff_dt(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by distance transforms."""
    from nnunet_fess.losses.hausdorff import HausdorffDTLoss

    return HausdorffDTLoss(cap=_cap(settings), **host.grid, **host.common)


def hausdorff_os(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by the distance transform of the truth."""
    from nnunet_fess.losses.hausdorff import HausdorffOSLoss

    return HausdorffOSLoss(cap=_cap(settings), **host.grid, **host.common)


def hausdorff_er(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by erosion."""
    from nnunet_fess.losses.hausdorff_erosion import HausdorffERLoss

    return HausdorffERLoss(stretch=True, **host.common)


def hausdorff_cv(settings: Settings, host: Host) -> nn.Module:
    """Hausdorff loss by convolutions."""
    from nnunet_fess.losses.hausdorff_convolution import HausdorffCVLoss

    return HausdorffCVLoss(**host.grid, **host.common)


def _cap(settings: Settings) -> float | None:
    return settings.number("cap") if settings.has("cap") else None


TERMS = (
    MapTerm("RRW", "rectified region-wise loss: probabilities times -d / max d inside of a class, 1 outside", rrw),
    MapTerm("Boundary", "boundary loss: probabilities times signed distances", boundary, (CAP,)),
    MapTerm("ActiveContour", "region-wise loss with the map -1 inside of a class, 1 outside", active_contour),
    MapTerm("GSL", "generalised surface loss: squared distances, classes weighted by 1 / volume²", gsl, (CAP,)),
    MapTerm("FuzzyRough", "squared errors, less of them right at a border", fuzzy_rough),
    MapTerm("HausdorffDT", "squared errors times squared distances, of truth and prediction", hausdorff_dt, (CAP,)),
    MapTerm("HausdorffOS", "squared errors times squared distances of the truth", hausdorff_os, (CAP,)),
    MapTerm("HausdorffER", "squared errors by how many erosions they survive", hausdorff_er),
    MapTerm("HausdorffCV", "squared errors by the balls that fit", hausdorff_cv),
)
