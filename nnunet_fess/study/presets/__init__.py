"""Files to begin with, which `nnunet_fess study init` writes: YAML with comments, as a user edits it."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent
DEFAULT = "own"


def names() -> list[str]:
    """The presets that there are."""
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def text(name: str) -> str:
    """The file of a preset.

    Raises:
        KeyError: there is none of that name.
    """
    if name not in names():
        raise KeyError(name)
    return (_FOLDER / f"{name}.yaml").read_text("utf-8")
