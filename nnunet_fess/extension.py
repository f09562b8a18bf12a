"""Where nnU-Net finds this package's trainers, and by which environment variable (nnU-Net 2.8 and later)."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "nnUNet_extTrainer"
DIRECTORY = Path(__file__).resolve().parent / "ext_trainer"


def with_ours(present: str | None, ours: Path = DIRECTORY) -> str:
    """The variable's value with our directory first, then what is set already; nothing twice, nothing empty."""
    paths = {os.path.realpath(ours): str(ours)}
    for path in (present or "").split(os.pathsep):
        if path.strip():
            # realpath, because Path.resolve raises on a loop of links; what the user set stays as it is spelt
            paths.setdefault(os.path.realpath(path), path)
    return os.pathsep.join(paths.values())
