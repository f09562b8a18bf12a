"""Whether stock nnU-Net finds our trainers, and what else is in its way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nnunet_fess.doctor.finding import Finding, fine, warning, wrong
from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.folders import QUOTES, resolved

_HOW = 'eval "$(nnunet_fess env)"  (fish, PowerShell: nnunet_fess env --help)'
_LOOK = """
import sys
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
found = find(sys.argv[1])
print("FOUND", getattr(found, "__module__", "nothing"))
"""


def variable() -> Finding:
    """nnUNet_extTrainer: our folder is in it, and the others exist."""
    value = os.environ.get(VARIABLE, "")
    if not value:
        return wrong(VARIABLE, "not set", f"{_HOW}  in every new shell, or in its start-up file.")
    if value[0] in QUOTES or value[-1] in QUOTES:
        return wrong(VARIABLE, f"{value}: the quotes are part of the value", f"Set it anew: {_HOW}")
    folders = [Path(part) for part in value.split(os.pathsep) if part.strip()]
    if DIRECTORY not in [resolved(folder) for folder in folders]:
        return wrong(VARIABLE, f"{value}: our folder {DIRECTORY} is not in it", f"Set it anew: {_HOW}")
    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        return warning(VARIABLE, f"{', '.join(missing)} does not exist", f"Take it out of {VARIABLE}, or correct the path.")
    return fine(VARIABLE, f"{len(folders)} folder{'s' if len(folders) > 1 else ''}, ours among them")


def found(trainer: str = "nnUNetTrainerFESS") -> Finding:
    """Ask nnU-Net itself, as its commands do, in a process of its own: what it imports there can be broken."""
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, trainer], capture_output=True, text=True, errors="replace", check=False, timeout=600
    )
    if done.returncode == 0 and "FOUND nnunet_fess" in done.stdout:
        return fine("trainers", f"nnU-Net finds {trainer}")
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1] if lines and done.returncode else "it is in none of the folders it looks in"
    advice = f"Set {VARIABLE} first: {_HOW}"
    if "torchvision::nms" in done.stderr:
        advice = "torch and torchvision do not belong together: pip install --upgrade torch torchvision"
    elif os.environ.get(VARIABLE):
        advice = "What fails is imported on the way to the trainer; the folders in nnUNet_extTrainer may hold it."
    return wrong("trainers", f"nnU-Net does not find {trainer}: {reason}", advice)


def plugins() -> list[Finding]:
    """Terms of other packages and files: those that are used, and those that are refused, with the reason."""
    from nnunet_fess.trainers.registry import registry

    known = registry()
    refused = [wrong("plug-in", str(refusal), "Whoever wrote it can mend it; the others work.") for refusal in known.refused]
    terms = ", ".join(f"{term} ({origin.distribution} {origin.version})" for term, origin in sorted(known.origins.items()))
    none = "none that can be used" if refused else "none installed, and none in nnUNet_fess_terms"
    return [fine("plug-ins", terms or none), *refused]
