"""nnU-Net's three folders, and how a dataset is found in them."""

from __future__ import annotations

import os
import re
from itertools import combinations
from pathlib import Path
from typing import Literal

from nnunet_fess.errors import UserError

Variable = Literal["nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"]
HOLDS: dict[str, str] = {
    "nnUNet_raw": "raw datasets",
    "nnUNet_preprocessed": "preprocessed datasets",
    "nnUNet_results": "trained models",
}
_LONGEST_NAME = 255  # bytes, on every file system that matters
QUOTES = "\"'“”„‘’«»"


def folder(variable: Variable, given: str | Path | None = None) -> Path:
    """One of nnU-Net's folders: `given`, or what the environment variable says.

    Args:
        variable: nnU-Net's name for it.
        given: takes precedence.

    Raises:
        UserError: neither says one; or the value has quotes, a variable or spaces at its ends, which a shell would have
            removed or replaced; or a file or a broken link is in its place. It need not exist.
    """
    value = str(given or os.environ.get(variable) or "")
    if not value:
        raise UserError(
            f"the environment variable {variable} is not set; it names the folder of {HOLDS[variable]}. "
            f"Set it:  export {variable}=/path/of/yours"
        )
    if value[0] in QUOTES or value[-1] in QUOTES:
        raise UserError(f"{variable} is {value}, quotes included, which then are part of the name. Leave the quotes out.")
    if re.search(r"\$\w|\$\{\w|%\w+%|[\r\n]", value):
        raise UserError(
            f"{variable} is {value!r}: a shell would have replaced the variable in it or taken the line's end off. "
            "Write the path out, or use double quotes in a shell."
        )
    if value != value.strip():
        raise UserError(f"{variable} is {value!r}: the space is part of the name. Set it without.")
    path = expanded(value)
    _refuse_what_is_no_folder(path, variable)
    return path


def expanded(path: str | Path) -> Path:
    """A path with ~ replaced; of somebody who has no home here it stays, and will not be found."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises RuntimeError there


def resolved(path: str | Path) -> Path:
    """An absolute path with ~ and links replaced; a link that leads back to itself stays, and will not be found."""
    return Path(os.path.realpath(expanded(path)))  # pathlib raises RuntimeError there


def _refuse_what_is_no_folder(path: Path, variable: str) -> None:
    for place in (path, *path.parents):
        if place.is_dir():
            return
        if place.is_symlink() and not place.exists():
            raise UserError(f"{variable} is {path}, but {place} is a link to {place.readlink()}, which is not there.")
        if place.exists():
            said = f"{variable}: " if place == path else f"{variable} is {path}, but "
            raise UserError(f"{said}{place} is a file; give a folder")


def refuse_overlap(raw: str | Path | None = None) -> None:
    """Refuse nnU-Net's folders where two are one or one lies in another: each deletes and overwrites datasets of the same name.

    Args:
        raw: takes precedence over nnUNet_raw.

    Raises:
        UserError: two of those that are set are not apart, or one cannot be a path (`folder`).
    """
    given: dict[Variable, str | Path | None] = {"nnUNet_raw": raw, "nnUNet_preprocessed": None, "nnUNet_results": None}
    places = {
        variable: resolved(folder(variable, value)) for variable, value in given.items() if value or os.environ.get(variable)
    }
    for one, other in combinations(places, 2):
        if _same(places[one], places[other]):
            raise UserError(
                f"{one} and {other} are the same folder, {places[one]}: {HOLDS[one]} and {HOLDS[other]} of the same name would "
                "overwrite each other. Give each a folder of its own."
            )
        for inner, outer in ((one, other), (other, one)):
            if places[inner].is_relative_to(places[outer]):
                raise UserError(
                    f"{inner} ({places[inner]}) lies in {outer} ({places[outer]}), which then holds {HOLDS[inner]} besides "
                    f"{HOLDS[outer]}. Give each a folder of its own, side by side."
                )


def _same(one: Path, other: Path) -> bool:
    """Whether two paths are one folder, also by another spelling where the file system ignores case."""
    return one == other or (one.exists() and other.exists() and one.samefile(other))


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
    if not name.strip():
        raise UserError("the name of the dataset is empty. Give its number, its name, or the path of its folder.")
    pattern = f"Dataset{name.lstrip('0').zfill(3)}_*" if name.isascii() and name.isdecimal() else None
    if pattern is None and ("\0" in name or any(len(os.fsencode(part)) > _LONGEST_NAME for part in Path(name).parts)):
        raise UserError(f"dataset {name[:40]!r}…: no folder can have such a name. Give its number, name, or path.")
    if pattern is None and not name.startswith("Dataset"):
        path = resolved(name)
        if path.is_dir():
            return path
    root = folder(variable, given)
    if pattern is not None:
        found = sorted(path for path in root.glob(pattern) if path.is_dir())
    else:
        found = [path for path in (root / name, Path(name)) if path.is_dir()][:1]
    if len(found) == 1:
        return resolved(found[0])
    if root.is_dir() and not os.access(root, os.R_OK | os.X_OK):  # a search in it finds nothing and says nothing
        raise UserError(f"dataset {name}: {root} ({variable}) cannot be read: permission denied. Ask whoever it belongs to.")
    listed = ", ".join(path.name for path in found) or "none"
    there = ", ".join(sorted(path.name for path in root.glob("Dataset*_*") if path.is_dir())) or "no dataset"
    raise UserError(
        f"dataset {name}: expected one folder {pattern or name} in {root} ({variable}), found {listed}. There: {there}."
    )
