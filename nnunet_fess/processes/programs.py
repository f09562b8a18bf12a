"""Programs that are installed along with this package, found also where nobody has activated its environment."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from nnunet_fess.errors import UserError


def search_path(programs: Iterable[str]) -> str:
    """A search path that holds all programs: the user's own, preceded by this installation's folders if they are not in it.

    Raises:
        UserError: a program is missing.
    """
    present = os.environ.get("PATH", "").split(os.pathsep)
    ours = dict.fromkeys([str(Path(sys.executable).parent), sysconfig.get_path("scripts")])
    path = os.pathsep.join([*(folder for folder in ours if folder not in present), *present])
    for program in programs:
        if shutil.which(program, path=path) is None:
            raise UserError(f"the program {program} was not found. Install this package again: pip install nnunet-fess")
    return path
