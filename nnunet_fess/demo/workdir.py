"""The demo's working directory: what the demo made there is known, and nothing else is ever deleted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nnunet_fess.errors import UserError

MARKER = ".nnunet_fess_demo"
_LOCK = MARKER + ".lock"


class Workdir:
    """A claimed directory; see `claim`.

    Attributes:
        path: the directory, absolute.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made: list[str] = []

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

    def _start_over(self) -> None:
        """Delete what an earlier run has left, finished or not."""
        marker = self.path / MARKER
        if marker.exists():
            try:
                made = json.loads(marker.read_text())["made"]
                ours = all(isinstance(name, str) and Path(name).name == name for name in made)
            except (ValueError, KeyError, TypeError):
                ours = False
            if not ours:
                raise UserError(f"{marker} is damaged, so what the demo made here is unknown. Choose another --workdir.")
            self._made = made
        self.remove(*tuple(self._made))

    def _write_marker(self) -> None:
        partial = self.path / (MARKER + ".partial")
        partial.write_text(json.dumps({"made": self._made}))
        partial.replace(self.path / MARKER)


@contextmanager
def claim(path: Path) -> Iterator[Workdir]:
    """Take a directory for one run: made if need be, locked, cleared of what an earlier demo has left.

    Args:
        path: the directory.

    Raises:
        UserError: it is no directory, not writable, in use by another demo, or holds files but not the demo's marker.
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
        with FileLock(path / _LOCK, timeout=0):
            workdir = Workdir(path)
            workdir._start_over()
            yield workdir
    except Timeout:
        raise UserError(f"another demo is running in {path}. Wait for it, or choose another --workdir.") from None
    except OSError as error:
        raise UserError(f"cannot use the working directory {path}: {error.strerror} ({error.filename}).") from None
