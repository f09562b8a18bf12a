"""How nnU-Net (2.8 and later) finds this package's trainers, and how its command ends when it does not.

This file must load where nothing else of the package does: nnU-Net searches every folder of `nnUNet_extTrainer`, and what
breaks in one of them hides the trainers of all that follow. Hence the standard library alone, up here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

VARIABLE = "nnUNet_extTrainer"  # as in `extension`, which cannot always be imported
DIRECTORY = Path(__file__).resolve().parent / "ext_trainer"


def find(name: str) -> type:
    """The trainer of a name, for nnU-Net's search.

    Raises:
        AttributeError: there is none here. What the user may have meant goes to stderr at once, and again at the very end, in
            place of nnU-Net's traceback, if no other folder has that trainer either.
    """
    hints = _hints_at_the_end()
    try:
        from nnunet_fess.trainers import NameRefused, build
        from nnunet_fess.trainers.missing import missing_packages
    except Exception as error:
        hints[name] = (
            f"nnunet-fess in {DIRECTORY.parent} does not work with {sys.executable}: {type(error).__name__}: {error}. Install "
            f"it in that environment, or take {DIRECTORY} out of {VARIABLE}."
        )
    else:
        try:
            return build(name)
        except NameRefused as error:
            hints[name] = missing_packages(name) or str(error)
            if _is_ddp_worker() and not _other_folders():
                # No hook is asked there, and the last that the command shows is the message of the worker's exception.
                raise NameRefused(hints[name]) from error
    if not any(_defines(folder, name) for folder in _other_folders()):
        print(f"nnunet-fess: {hints[name]}", file=sys.stderr)
    raise AttributeError(hints[name])


def _other_folders() -> list[Path]:
    """Those of other extensions that nnU-Net searches, too."""
    listed = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part.strip()]
    return [folder for folder in listed if folder.is_dir() and folder.resolve() != DIRECTORY]


def _defines(folder: Path, name: str) -> bool:
    """Whether a class of that name is written down there: then what we would have to say is of no interest."""
    line = re.compile(rf"^class {re.escape(name)}\b".encode(), re.MULTILINE)
    try:
        return any(line.search(file.read_bytes()) for file in folder.rglob("*.py"))
    except OSError:
        return False


def _is_ddp_worker() -> bool:
    distributed = sys.modules.get("torch.distributed")
    return distributed is not None and distributed.is_available() and distributed.is_initialized()


def _hints_at_the_end() -> dict[str, str]:
    """Have uncaught errors end the process as they should; what is in the dict, by trainer, is said if nnU-Net finds none."""
    hook = sys.excepthook
    if type(hook).__name__ != _LastWords.__name__:  # by name: nnU-Net may load this file more than once
        hook = sys.excepthook = _LastWords(hook)
    hints: dict[str, str] = hook.hints  # type: ignore[attr-defined]
    return hints


class _LastWords:
    """An excepthook that shows a user's mistake as its message alone, and a trainer that nobody has as our hint alone."""

    def __init__(self, previous: Callable[..., object]):
        self.previous = previous
        self.hints: dict[str, str] = {}

    def __call__(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sys.stdout.flush()  # so that our line is the last one where both go to one place
        if any((base.__module__, base.__name__) == ("nnunet_fess.errors", "UserError") for base in kind.__mro__):
            print(f"nnunet-fess: {error}", file=sys.stderr)
            return
        unknown = [
            name for name in self.hints if kind is RuntimeError and re.search(rf"trainer {re.escape(name)}\b", str(error))
        ]
        if not unknown:
            self.previous(kind, error, traceback)
            return
        if "Could not find requested nnunet trainer" not in str(error):  # another release's words may say more than ours
            self.previous(kind, error, traceback)
        print(f"nnU-Net found no trainer {unknown[0]}. {self.hints[unknown[0]]}", file=sys.stderr)
