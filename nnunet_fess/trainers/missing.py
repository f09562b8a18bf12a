"""Which package a trainer came from that is not installed here, as told by the checkpoints that it left."""

from __future__ import annotations

import glob
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_fess.trainers.registry import VARIABLE, registry

# The key of our own state in a checkpoint, and the one in it under which `Registry.provenance` is kept.
STATE, TERMS = "nnunet_fess", "terms"


def missing_packages(trainer: str) -> str | None:
    """What to install, or how to go on without it; None if no checkpoint of that trainer needs a package that is missing.

    Looked at are the checkpoint that nnU-Net is about to use (a prediction has read it by the time it looks for the trainer),
    and those of that trainer in nnUNet_results (`--c` reads none before).

    Args:
        trainer: its name with all options.
    """
    for checkpoint in (*_in_use(trainer), *_in_results(trainer)):
        needed: Mapping[str, Mapping[str, str]] = (checkpoint.get(STATE) or {}).get(TERMS) or {}
        lacking = {name: origin for name, origin in needed.items() if name not in registry().origins}
        if lacking:
            return (
                f"{trainer} was trained with {' and '.join(_what_to_do(*each) for each in lacking.items())}\n"
                f"To predict, no loss is needed: make a copy with which stock nnU-Net predicts the same voxels, by  "
                f"nnunet_fess share DATASET -tr {trainer}"
            )
    return None


def _what_to_do(term: str, origin: Mapping[str, str]) -> str:
    whose, version, module = (origin.get(key, "") for key in ("distribution", "version", "module"))
    refused = [each.reason for each in registry().refused if each.origin.distribution == whose]
    if module:
        found = f"the loss term {term} of the package {whose} {version}"
        if refused:
            return f"{found}, which is installed, but refused: {refused[0]}."
        return f"{found}, which is not installed here. To train, install it:  pip install {shlex.quote(f'{whose}=={version}')}"
    found = f"the loss term {term} of the file {whose} (SHA-256 {version}…)"
    if refused:
        return f"{found}, which is refused: {refused[0]}."
    return f"{found}, which {VARIABLE} does not name here. To train, name it:  export {VARIABLE}={shlex.quote(whose)}"


def _in_use(trainer: str) -> Iterator[Mapping[str, Any]]:
    """The checkpoint that a caller up the stack has read: nnU-Net's predictor is given a folder, which nobody else is told."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        found = frame.f_locals.get("checkpoint")
        if isinstance(found, Mapping) and found.get("trainer_name") == trainer:
            yield found


def _in_results(trainer: str) -> Iterator[Mapping[str, Any]]:
    results = os.environ.get("nnUNet_results")
    if not results:
        return
    for path in sorted(Path(results).glob(f"Dataset*/{glob.escape(trainer)}__*/fold_*/checkpoint_*.pth")):
        import torch

        try:
            # As nnU-Net reads them: it is about to, and its optimizer states are more than weights.
            found = torch.load(path, "cpu", weights_only=False, mmap=True)
        except Exception:  # truncated by a kill, or anything else: the next one may tell
            continue
        if isinstance(found, Mapping):
            yield found
