"""nnU-Net's checkpoints with our state in them: written whole, durable and once; read with a way out when one is damaged."""

from __future__ import annotations

import copy
import os
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nnunet_fess.files import remove_partials, whole
from nnunet_fess.trainers.errors import TrainingRefused
from nnunet_fess.trainers.missing import STATE

# nnU-Net ignores keys it does not know.
KEY = STATE
# In the order in which nnU-Net looks for one to continue from.
NAMES = ("checkpoint_final.pth", "checkpoint_latest.pth", "checkpoint_best.pth")
_ONE_AT_A_TIME = threading.Lock()


class Unreadable(TrainingRefused):
    """A checkpoint is truncated or damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """What we need of a checkpoint that can be read.

    Attributes:
        path: the file.
        epoch: the one that a training continues with.
        state: what we put into it; empty for stock nnU-Net's.
    """

    path: Path
    epoch: int
    state: dict[str, Any]


def write(path: str | Path, save: Callable[[str], None], state: dict[str, Any]) -> None:
    """Write nnU-Net's checkpoint plus our state, on the disk before it takes the name: a kill or a power cut loses nothing.

    nnU-Net writes on the final name, and a kill leaves a truncated file there.

    Args:
        path: the file to make or to replace.
        save: nnU-Net's `save_checkpoint`, which writes on the path it is given.
        state: ours, under `KEY`.

    Raises:
        TrainingRefused: the disk is full or otherwise cannot be written; the file of before is untouched.
    """
    try:
        with whole(path, durable=True) as unfinished:
            with _saved_with(str(unfinished), state) as done:
                save(str(unfinished))
            if not done:  # a release of nnU-Net that does not call torch.save: one more write
                torch.save(torch.load(unfinished, map_location="cpu", weights_only=False) | {KEY: state}, unfinished)
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "writ" not in str(error) and "inline_container" not in str(error):
            raise
        free = shutil.disk_usage(Path(path).parent).free / 2**20
        raise TrainingRefused(
            f"{path} cannot be written: {str(error).splitlines()[0]} ({free:.0f} MiB of its disk are free). The checkpoint of "
            "before is untouched. Make room, then run the same command with --c."
        ) from error


@contextmanager
def _saved_with(target: str, state: dict[str, Any]) -> Iterator[list[bool]]:
    """What `torch.save` writes on `target` within the block has our state, too; yields a list that then is not empty.

    nnU-Net builds the dictionary and saves it in one method. A copy of that method would age with every release, and reading
    the file to write it again takes more than twice as long.
    """
    done: list[bool] = []
    with _ONE_AT_A_TIME:
        save = torch.save

        def save_with_state(checkpoint: Any, file: Any, *args: Any, **kwargs: Any) -> None:
            if isinstance(checkpoint, dict) and file == target:
                checkpoint = checkpoint | {KEY: state}
                done.append(True)
            save(checkpoint, file, *args, **kwargs)

        torch.save = save_with_state  # type: ignore[assignment]
        try:
            yield done
        finally:
            torch.save = save


def read(path: str | Path, device: torch.device) -> Checkpoint:
    """Epoch and our state of a checkpoint, after all of it was checked.

    Raises:
        Unreadable: it is truncated or damaged, anywhere.
    """
    path = Path(path)
    try:
        in_zip = zipfile.is_zipfile(path)
        if in_zip:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch does not look at the checksums
            if damaged:
                raise ValueError(f"the checksum of {damaged} in it is wrong.")
        # Mapped, so that what nnU-Net reads again is not held twice; copied, since the next save replaces the file.
        checkpoint = torch.load(path, device, weights_only=False, mmap=in_zip)
    except Exception as error:  # damaged bytes are instructions to unpickle whatever: there is no error that they do not raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Unreadable(f"{path} cannot be read: {reason}") from error
    if not isinstance(checkpoint, dict):
        raise Unreadable(f"{path} is no checkpoint of nnU-Net: it holds a {type(checkpoint).__name__}.")
    missing = [key for key in ("current_epoch", "network_weights") if key not in checkpoint]
    if missing:
        raise Unreadable(f"{path} is no checkpoint of nnU-Net: it has no {missing[0]!r}.")
    state = checkpoint.get(KEY, {})
    for key, value, kind in (("current_epoch", checkpoint["current_epoch"], int), (KEY, state, dict)):
        if not isinstance(value, kind):
            raise Unreadable(f"{path} is no checkpoint of nnU-Net: its {key} is {value!r}.")
    return Checkpoint(path, checkpoint["current_epoch"], copy.deepcopy(state))


def best_of(folder: Path, without: Path, device: torch.device) -> tuple[Checkpoint | None, list[str]]:
    """The readable checkpoint that is furthest in the training, and what is wrong with the others.

    Args:
        folder: of the fold.
        without: one that is known to be unreadable.
        device: where its tensors go.
    """
    found: list[Checkpoint] = []
    wrong: list[str] = []
    for path in (folder / name for name in NAMES):
        if path != without and path.is_file():
            try:
                found.append(read(path, device))
            except Unreadable as error:
                wrong.append(str(error))
    return max(found, key=lambda checkpoint: checkpoint.epoch, default=None), wrong


def tidy(folder: Path) -> None:
    """Remove what a kill has left of unfinished checkpoints."""
    for name in NAMES:
        remove_partials(folder / name)
        (folder / f"{name}.partial").unlink(missing_ok=True)  # what versions before 0.1.0 called them


def same_form(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two state dicts have the same keys and tensors of the same shapes."""
    return one.keys() == other.keys() and all(
        not torch.is_tensor(value) or (torch.is_tensor(other[key]) and value.shape == other[key].shape)
        for key, value in one.items()
    )


def is_in(path: str | Path, folder: str | Path) -> bool:
    """Whether a file lies directly in a folder."""
    return os.path.realpath(Path(path).parent) == os.path.realpath(folder)
