"""The demo's working directory: what the demo made there is known, and nothing else is ever deleted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_fess.errors import UserError
from nnunet_fess.files import held_alone, read_json, write_json

MARKER = ".nnunet_fess_demo"
RESULTS = "demo_results.json"  # written last: a demo that has left it is finished
_LOCK = MARKER + ".lock"


class Workdir:
    """A claimed directory; see `claim`.

    Attributes:
        path: the directory, absolute.
        prepared: whether it holds data that an earlier run has prepared, and this one asks for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prepared = False
        self._made: list[str] = []
        self._data: Mapping[str, Any] | None = None

    def new(self, name: str) -> Path:
        """The path of a file or folder that the demo is about to make directly in the directory.

        It is written down before it exists, so that a run killed at any moment leaves nothing behind that the next cannot tell.

        Raises:
            UserError: somebody else's file has that name.
        """
        target = self.path / name
        if name not in self._made:
            if target.exists() or target.is_symlink():
                raise UserError(f"{target} is not the demo's and in its way. Move it, or choose another --workdir.")
            self._made.append(name)
            self._write_marker()
        return target

    def remove(self, *names: str) -> None:
        """Delete what `new` has named; a symbolic link is taken away, never followed."""
        for name in names:
            if name not in self._made:
                raise ValueError(f"{name} was not made by the demo")
            target = self.path / name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)
            else:
                target.unlink(missing_ok=True)
            self._made.remove(name)
        self._write_marker()

    def mark_prepared(self, data: Mapping[str, Any]) -> None:
        """Write down that the data are there whole, and what they are made of."""
        self._data = data
        self.prepared = True
        self._write_marker()

    def _start(self, overwrite: bool, data: Mapping[str, Any] | None) -> None:
        """Keep what an earlier run has prepared of the same data, else delete it; what it has finished, only if told to."""
        marker = self.path / MARKER
        if marker.exists():
            self._made, self._data = _read(marker)
        if RESULTS in self._made and (self.path / RESULTS).exists() and not overwrite:
            raise UserError(
                f"{self.path} holds the results of a finished demo. Choose another --workdir, or replace them with --overwrite."
            )
        self.prepared = data is not None and self._data == data
        if self.prepared and not (self.path / RESULTS).exists():
            print(f"Going on with what an unfinished demo has left in {self.path}.", flush=True)
            return
        self.prepared, self._data = False, None
        left = [name for name in self._made if (self.path / name).exists()]
        if left and RESULTS not in left:
            print(f"Cleared what an unfinished demo had left in {self.path}.", flush=True)
        self.remove(*reversed(self._made))  # the results, made last, first: what is half removed is not finished

    def _write_marker(self) -> None:
        write_json(self.path / MARKER, {"made": self._made, "prepared": self._data})


def _read(marker: Path) -> tuple[list[str], Mapping[str, Any] | None]:
    """What was made, and what the data are made of if they are prepared."""
    try:
        content = read_json(marker)
        made = content["made"]
        ours = all(isinstance(name, str) and Path(name).name == name for name in made)
    except (UserError, KeyError, TypeError):
        ours = False
    if not ours:
        raise UserError(f"{marker} is damaged, so what the demo made here is unknown. Choose another --workdir.")
    return list(made), content.get("prepared")


def first_free(path: Path) -> Path:
    """`path`, or if a finished demo's results lie there `path_2`, `path_3` …, the first of them without."""
    number, candidate = 1, path
    while (candidate / MARKER).is_file() and (candidate / RESULTS).exists():
        number += 1
        candidate = path.with_name(f"{path.name}_{number}")
    return candidate


@contextmanager
def claim(path: Path, overwrite: bool = False, data: Mapping[str, Any] | None = None) -> Iterator[Workdir]:
    """Take a directory for one run: made if need be, locked, cleared of what an unfinished demo has left.

    Args:
        path: the directory.
        overwrite: clear it of a finished demo's results, too.
        data: what the run's data are made of; an unfinished demo that has prepared the same is not cleared but gone on with.

    Raises:
        UserError: it is no directory, not writable, in use by another demo, holds files but not the demo's marker, or a
            finished demo's results that are not to be overwritten.
    """
    path = path.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        found = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(MARKER))
        if found and not (path / MARKER).is_file():
            raise UserError(
                f"{path} holds files that are not the demo's ({', '.join(found[:3])}{', …' if len(found) > 3 else ''}). "
                "Choose another --workdir; the demo wants one that is empty, new, or its own from an earlier run."
            )
        busy = f"another demo is running in {path}. Wait for it, or choose another --workdir."
        with held_alone(path / _LOCK, busy):
            workdir = Workdir(path)
            workdir._start(overwrite, data)
            yield workdir
    except OSError as error:
        raise UserError(f"cannot use the working directory {path}: {error.strerror} ({error.filename}).") from None
