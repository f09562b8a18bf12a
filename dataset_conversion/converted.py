"""Finding a converted dataset again, and reading what its conversion recorded."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dataset_conversion.errors import ConversionError
from nnunet_fess.folders import folder


def raw_folder(given: str | None) -> Path:
    """nnU-Net's raw folder: `given`, or the environment's.

    Raises:
        UserError: neither is set, or it cannot be a path (`nnunet_fess.folders.folder`).
    """
    if not (given or os.environ.get("nnUNet_raw")):
        raise ConversionError("where is nnU-Net's raw folder? Set the environment variable nnUNet_raw or give --raw DIR")
    return folder("nnUNet_raw", given)


def find(name: str, raw: str | None) -> Path:
    """The dataset folder that `name` means: its number, its name, or its path.

    Raises:
        ConversionError: there is none, or there are several.
    """
    if not name.isdigit():
        places = [Path(name).expanduser()]
        if name.startswith("Dataset"):
            places.insert(0, raw_folder(raw) / name)
        for place in places:
            if place.is_dir():
                return place.resolve()
        raise ConversionError(f"dataset {name}: no such folder as {' or '.join(map(str, places))}")
    found = sorted(raw_folder(raw).glob(f"Dataset{int(name):03d}_*"))
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise ConversionError(f"dataset {name}: one folder expected in {raw_folder(raw)}, found {listed}")
    return found[0].resolve()


def load(folder: Path, name: str) -> Any:
    """Content of one of the conversion's JSON files.

    Raises:
        ConversionError: it is missing or no JSON.
    """
    try:
        return json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConversionError(f"{folder} has no {name}: it was not made by nnunet_fess convert") from error
    except ValueError as error:
        raise ConversionError(f"{folder / name} is no JSON: {error}") from error
