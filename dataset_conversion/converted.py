"""Reading what a conversion recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataset_conversion.errors import ConversionError
from nnunet_fess.files import read_json


def load(folder: Path, name: str) -> Any:
    """Content of one of the conversion's JSON files.

    Raises:
        UserError: it is missing or no JSON.
    """
    if not (folder / name).exists():
        raise ConversionError(f"{folder} has no {name}: it was not made by nnunet_fess convert")
    return read_json(folder / name)
