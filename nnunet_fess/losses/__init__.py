"""Losses; torch only, usable without nnU-Net."""
