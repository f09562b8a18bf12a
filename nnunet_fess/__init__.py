"""FESS and contour-weighted losses for nnU-Net v2, as an extension that leaves nnU-Net untouched."""

__version__ = "0.1.0"
