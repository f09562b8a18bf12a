"""Text for people on any stream: every encoding can spell it, and progress is a bar on a terminal and lines elsewhere."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import sys
import time
import unicodedata
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from nnunet_fess.errors import UserError

Item = TypeVar("Item")

_SPELT = {
    **dict.fromkeys("‐‑‒–—−", "-"),
    **dict.fromkeys("“”„″", '"'),
    **dict.fromkeys("‘’‚′", "'"),
    "…": "...",
    "×": "x",
    "·": "*",
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "±": "+-",
    "µ": "u",
    "°": " deg",
    "∑": "Sum",
    "∈": "in",
    "∞": "inf",
    "√": "sqrt",
    "✓": "ok",
    "•": "*",
    "\N{NO-BREAK SPACE}": " ",
    **{power: f"^{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
}
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)$")
_PAUSE = 10.0  # seconds between two lines of progress
_PATHS_ARE_BYTES = os.name == "posix"


def spell(character: str) -> str:
    r"""A character in ASCII: `λ` → `lambda`, `–` → `-`; of a letter that may be part of a name its escape, `ü` → `\xfc`."""
    if character in _SPELT:
        return _SPELT[character]
    greek = _GREEK.match(unicodedata.name(character, ""))
    if greek:
        name = greek[2].lower().replace("lamda", "lambda")  # Unicode's own spelling
        return name if greek[1] == "SMALL" else name.capitalize()
    return character.encode("ascii", "backslashreplace").decode()


def _spell_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(spell, error.object[error.start : error.end])), error.end


codecs.register_error("nnunet_fess.spell", _spell_unencodable)


def make_readable() -> None:
    """From here on stdout and stderr spell what their encoding lacks (Windows' code pages, ASCII) instead of failing on it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a notebook's stream has none, and takes all of Unicode
        if reconfigure is not None:
            reconfigure(errors="nnunet_fess.spell")


def print_exactly(text: str) -> None:
    """Print what another program will read, so that paths in it arrive byte for byte, whatever the locale.

    Raises:
        UserError: on Windows, the encoding of stdout lacks one of the characters.
    """
    if _PATHS_ARE_BYTES and hasattr(sys.stdout, "buffer"):
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(text) + b"\n")
        return
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        raise UserError(
            f"the output's encoding, {encoding}, cannot spell {text[error.start : error.end]!r}. "
            "Set the environment variable PYTHONIOENCODING=utf-8 and try again."
        ) from None
    print(text)


@contextlib.contextmanager
def output_to_stderr() -> Iterator[None]:
    """What is printed in the block goes to stderr, by Python and by what it calls (C code, other programs) alike.

    For code of others in a command whose output another program reads, such as `--json`.
    """
    with contextlib.ExitStack() as undo:
        with contextlib.suppress(OSError, ValueError, AttributeError):  # a stream is closed, or there is none
            sys.stdout.flush()
            undo.callback(_put_back, os.dup(1))
            os.dup2(2, 1)
        undo.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield


def _put_back(stdout: int) -> None:
    os.dup2(stdout, 1)
    os.close(stdout)


def progress(items: Iterable[Item], title: str, total: int, unit: str = "case") -> Iterator[Item]:
    """Go through items and show on stderr how far: a bar on a terminal, elsewhere a line now and then.

    Args:
        items: what to go through.
        title: what is done with them, in a word.
        total: how many there are.
        unit: what one of them is.
    """
    if _is_terminal(sys.stderr):
        from tqdm import tqdm  # here, because it costs start-up time that most commands need not spend

        yield from tqdm(items, desc=title, total=total, unit=unit)
        return
    said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if done == total or time.monotonic() - said >= _PAUSE:
            said = time.monotonic()
            print(f"{title}: {done} of {total} {unit}{'s' if total != 1 else ''}", file=sys.stderr, flush=True)


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()
