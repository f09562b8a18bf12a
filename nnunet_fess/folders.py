"""nnU-Net's three folders, and how a dataset is found in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from nnunet_fess.errors import UserError

Variable = Literal["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"]
HOLDS: dict[str, str] = {
    "nnUNet_raw": "raw datasets",
    "nnUNet_preprocessed": "preprocessed datasets",
    "nnUNet_results": "trained models",
}


def folder(variable: Variable, given: str | Path | None = None) -> Path:
    """One of nnU-Net's folders: `given`, or what the environment variable says.

    Args:
        variable: nnU-Net's name for it.
        given: takes precedence.

    Raises:
        UserError: neither says one, or the value is in quotes, which a shell would have removed. It need not exist.
    """
    value = str(given or os.environ.get(variable) or "")
    if not value:
        raise UserError(
            f"the environment variable {variable} is not set; it names the folder of {HOLDS[variable]}. "
            f"Set it:  export {variable}=/path/of/yours"
        )
    if value[0] in "\"'" and value[-1] == value[0]:
        raise UserError(f"{variable} is {value}, quotes included, which then are part of the name. Leave the quotes out.")
    return Path(value).expanduser()


def find_dataset(dataset: str | int, variable: Variable, given: str | Path | None = None) -> Path:
    """The folder of a dataset within one of nnU-Net's folders.

    Args:
        dataset: its number, its name (``Dataset517_BraTS2017``), or the path of its folder.
        variable: which of nnU-Net's folders.
        given: that folder, in place of the environment variable.

    Raises:
        UserError: none or several match.
    """
    name = str(dataset)
    if not name.isdecimal() and not name.startswith("Dataset"):
        path = Path(name).expanduser()
        if path.is_dir():
            return path.resolve()
    root = folder(variable, given)
    if name.isdecimal():
        found = sorted(path for path in root.glob(f"Dataset{int(name):03d}_*") if path.is_dir())
    else:
        found = [path for path in (root / name, Path(name).expanduser()) if path.is_dir()][:1]
    if len(found) == 1:
        return found[0].resolve()
    pattern = f"Dataset{int(name):03d}_*" if name.isdecimal() else name
    listed = ", ".join(path.name for path in found) or "none"
    there = ", ".join(sorted(path.name for path in root.glob("Dataset*_*") if path.is_dir())) or "no dataset"
    raise UserError(f"dataset {name}: expected one folder {pattern} in {root} ({variable}), found {listed}. There: {there}.")
