"""Which releases of nnU-Net the trainers work in."""

from __future__ import annotations

import re
from importlib import metadata

from nnunet_fess.trainers.errors import TrainingRefused

OLDEST = (2, 8)


def require_nnunet() -> None:
    """Refuse a release that is too old, before anything of it is used.

    Raises:
        TrainingRefused: nnU-Net below 2.8, which looks for trainers in its own folder alone.
    """
    try:
        version = metadata.version("nnunetv2")
    except metadata.PackageNotFoundError:  # run from a checkout, whose version nobody knows
        return
    found = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if found < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise TrainingRefused(
            f"nnunet-fess needs nnU-Net {oldest} or later; installed is nnunetv2 {version}, which finds no trainers outside "
            f"of its own folder. Update it:  pip install 'nnunetv2>={oldest},<3'"
        )
