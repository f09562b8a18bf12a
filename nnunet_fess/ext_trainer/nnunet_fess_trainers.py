"""What nnU-Net finds in the directory that `nnUNet_extTrainer` names: every trainer of nnunet-fess, made by its name.

nnU-Net imports each module of that directory, asks `hasattr(module, trainer_name)`, and forgets the modules afterwards. So
nothing is defined here; the classes live in `nnunet_fess.trainers`.
"""

from __future__ import annotations

import sys

from nnunet_fess.trainers import NotOurs, build


def __getattr__(name: str) -> type:
    try:
        return build(name)
    except NotOurs as error:
        # Another extension may have it. The hint helps when nobody does.
        if name.startswith("nnUNetTrainer"):
            print(error, file=sys.stderr)
        raise AttributeError(name) from error
    except ValueError as error:
        # nnU-Net's hasattr lets only AttributeError pass as "not here"; this ends its command with the message alone.
        raise SystemExit(str(error)) from None
