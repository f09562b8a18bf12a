"""nnU-Net's three folders: set, without quotes, there, writable, apart from each other, and with room on the disk."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import tempfile
from pathlib import Path

from nnunet_fess.doctor.finding import Finding, fine, warning, wrong
from nnunet_fess.folders import HOLDS, QUOTES, resolved

# Below this a training that preprocesses first is likely to end in the middle.
ENOUGH_GB = 10


def variable(name: str) -> Finding:
    """One environment variable and the folder it names."""
    value = os.environ.get(name, "")
    wish = f"export {name}=/path/of/yours"
    if not value.strip():
        return wrong(name, "not set", f"It names the folder of {HOLDS[name]}: {wish}")
    if value[0] in QUOTES or value[-1] in QUOTES:
        return wrong(name, f"{value}: the quotes are part of the value", f"Set it without them: {wish}")
    if value != value.strip():
        return wrong(name, f"{value!r}: begins or ends with a space", f"Set it without: {wish}")
    if re.search(r"[\r\n]", value):
        return wrong(name, f"{value!r}: has the end of a line in it", f"Set it in one line: {wish}")
    path = Path(value)
    if value.startswith("~") or "$" in value:
        return wrong(name, f"{value}: nnU-Net takes ~ and $ literally", f"Set the whole path: {wish}")
    if re.search(r"%\w+%", value):
        return wrong(name, f"{value}: nnU-Net takes % literally", f"Set the whole path: {wish}")
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return wrong(name, f"{value} is no folder", f"Name a folder: {wish}")
    except FileNotFoundError:
        if path.is_symlink():
            return wrong(
                name, f"{value} is a link to {path.readlink()}, which is not there", "Mount or make it, or correct it."
            )
        return wrong(name, f"{value} does not exist", f"Make it (mkdir -p {shlex.quote(value)}) or correct the path.")
    except OSError as error:  # too long, not to be looked into, a link to itself, a file on the way
        return wrong(name, f"{value} cannot be looked at: {error.strerror}", f"Correct the path: {wish}")
    if not _writable(path):
        return wrong(name, f"{value} cannot be written to", "Choose a folder of yours, or ask for the permission.")
    if not path.is_absolute():
        return warning(name, f"{value} is relative: it means another folder from elsewhere", f"Set the whole path: {wish}")
    if " " in value:
        return warning(name, f"{value} has a space in it", f'Write "${name}" with its quotes in commands, or choose another.')
    return fine(name, f"{value}, {_free(path):.0f} GB free")


def apart() -> Finding:
    """No folder is another one or lies in it: nnU-Net would read preprocessed data as raw, and a converter would delete."""
    paths = {name: resolved(os.environ[name]) for name in HOLDS if os.environ.get(name)}
    for one, path in paths.items():
        for other, second in paths.items():
            if one != other and (path == second or second in path.parents):
                how = "is" if path == second else "lies in"
                return wrong("folders", f"{one} {how} {other}", "Give each a folder of its own, beside the others.")
    return fine("folders", "apart from each other")


def disk() -> Finding:
    """Room where nnU-Net writes most."""
    little = []
    for name in ("nnUNet_preprocessed", "nnUNet_results"):
        value = os.environ.get(name)
        if value and Path(value).is_dir() and (free := _free(Path(value))) < ENOUGH_GB:
            little.append(f"{free:.1f} GB in {name}")
    if little:
        return warning(
            "disk", f"little is free: {', '.join(little)}", f"Preprocessing may need more than {ENOUGH_GB} GB; make room."
        )
    return fine("disk", f"{ENOUGH_GB} GB or more where nnU-Net writes")


def shared_memory(path: Path = Path("/dev/shm")) -> Finding:
    """Augmentation's workers hand batches over in it; a container often has 64 MB, and they die without a reason given."""
    if not path.is_dir():
        return fine("shared memory", "not limited by a file system here")
    size = shutil.disk_usage(path).total / 1e9
    if size < 1:
        return warning(
            "shared memory",
            f"{path} has {size:.2f} GB",
            "Background workers may die: start the container with --shm-size=8g or --ipc=host.",
        )
    return fine("shared memory", f"{size:.0f} GB")


def _writable(path: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=path):
            return True
    except OSError:
        return False


def _free(path: Path) -> float:
    return shutil.disk_usage(path).free / 1e9
