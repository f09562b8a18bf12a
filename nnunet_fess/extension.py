"""Where nnU-Net finds this package's trainers, and by which environment variable (nnU-Net 2.8 and later)."""

from __future__ import annotations

from pathlib import Path

VARIABLE = "nnUNet_extTrainer"
DIRECTORY = Path(__file__).resolve().parent / "ext_trainer"
