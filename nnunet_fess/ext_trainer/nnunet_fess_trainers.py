"""What nnU-Net finds in the directory that `nnUNet_extTrainer` names: every trainer of nnunet-fess, made by its name.

nnU-Net imports each module of that directory, asks `hasattr(module, trainer_name)`, and forgets the modules afterwards. So
nothing is defined here; the classes live in `nnunet_fess.trainers`.
"""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

try:
    from nnunet_fess import search
except Exception:  # not installed for this Python: the other folders' trainers must be found all the same, and the user told
    _spec = spec_from_file_location("nnunet_fess_search", Path(__file__).resolve().parents[1] / "search.py")
    assert _spec is not None
    assert _spec.loader is not None
    search = module_from_spec(_spec)
    _spec.loader.exec_module(search)


def __getattr__(name: str) -> type:
    if not name.startswith("nnUNetTrainer"):
        raise AttributeError(name)
    found: type = search.find(name)
    return found
