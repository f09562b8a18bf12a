"""From a trainer as the study's file names it to the names that nnU-Net is given: options added, in canonical order."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.trainers.naming import NotOurs, parse

PREFIX = "nnUNetTrainer"


@dataclass(frozen=True)
class Trainer:
    """A trainer of the study.

    Attributes:
        given: as in the file.
        label: as in the results: without the prefix where it is ours.
        suffixes: of ours, the base and its suffixes in canonical order, `seed{seed}` among them; empty of others.
    """

    given: str
    label: str
    suffixes: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether this package makes it, so that it has options and seeds."""
        return bool(self.suffixes)

    def name(self, seed: int | None) -> str:
        """What `nnUNetv2_train -tr` is given."""
        return "_".join(self.suffixes).format(seed=seed) if self.ours else self.given


def choose(given: Sequence[str], options: str) -> tuple[list[Trainer], list[tuple[str, str]]]:
    """Resolve the trainers of a study.

    Args:
        given: as in the file.
        options: what each of ours gets.

    Returns:
        The trainers, and for each mistake the key in the file and what is wrong.
    """
    trainers: list[Trainer] = []
    mistakes: list[tuple[str, str]] = []
    wrong_options: dict[str, tuple[str, list[str]]] = {}  # token → what is wrong with it, for whom
    for position, entry in enumerate(given):
        key = f"trainers.{position}"
        try:
            trainer = _resolved(entry, options)
        except NotOurs as error:
            if not re.fullmatch(r"[^\W\d]\w*", entry) or not entry.startswith(PREFIX) or "__" in entry:
                mistakes.append((key, f"found {entry!r}; allowed: a trainer of ours, or the whole name of another. {error}"))
                continue
            trainer = Trainer(entry, entry)
        except _OptionRefused as error:
            wrong_options.setdefault(error.token, (str(error), []))[1].append(entry)
            continue
        except ValueError as error:
            mistakes.append((key, f"found {entry!r}; {_first_line(error)}"))
            continue
        names = [known.given for known in trainers if known.name(0) == trainer.name(0)]
        if names:
            mistakes.append((key, f"found {entry!r}, which is the same trainer as {names[0]!r}; allowed: each once"))
        trainers.append(trainer)
    for token, (told, entries) in wrong_options.items():
        others = f" (the same for {', '.join(entries[1:])})" if len(entries) > 1 else ""
        mistakes.append(("options", f"found {token!r}; {told}{others}"))
    return trainers, mistakes


class _OptionRefused(Exception):
    """One of the study's options does not go with a trainer."""

    def __init__(self, token: str, message: str) -> None:
        super().__init__(message)
        self.token = token


def _resolved(entry: str, options: str) -> Trainer:
    """One of ours with its own and the study's options.

    Raises:
        NotOurs: it is not.
        ValueError: an option of its own is unknown, or one is given twice.
        _OptionRefused: one of the study's is unknown.
    """
    base, _, own = entry.removeprefix(PREFIX).partition("_")
    loss = parse(PREFIX + base).loss
    order = [option.key for option in loss.options]
    found: dict[str, str] = {}
    tokens = [(token, False) for token in own.split("_")] + [(token, True) for token in options.strip("_").split("_")]
    for token, for_all in [*tokens, ("seed0", False)]:
        if not token:
            continue
        try:
            (key,) = parse(f"{PREFIX}{base}_{token}").options
        except ValueError as error:
            raise _OptionRefused(token, _first_line(error)) if for_all else error from None
        if "seed" in (key, *found) and token != "seed0":
            raise ValueError(f"{token} in a trainer or in options; write seeds in  seeds: […]")
        if key in found:
            raise ValueError(f"{found[key]} and {token} say the same thing; allowed: one of them")
        found[key] = token
    ordered = sorted(found, key=order.index)
    parse("_".join([PREFIX + base, *(found[key] for key in ordered)]))  # refuses what excludes each other
    label = "_".join([base, *(token for token in own.split("_") if token)])
    return Trainer(entry, label, (PREFIX + base, *("seed{seed}" if key == "seed" else found[key] for key in ordered)))


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


def others() -> set[str]:
    """Names of the trainers that nnU-Net finds and that are not ours.

    They are read as text: importing all of nnU-Net's takes half a minute and can fail.
    """
    spec = importlib.util.find_spec("nnunetv2")
    roots = [Path(root, "training", "nnUNetTrainer") for root in (spec.submodule_search_locations if spec else None) or ()]
    extensions = [Path(entry) for entry in os.environ.get(VARIABLE, "").split(os.pathsep) if entry.strip()]
    roots += [entry for entry in extensions if entry.resolve() != DIRECTORY]
    files = [file for root in roots for file in root.rglob("*.py")]
    pattern = re.compile(r"^class (\w+)\s*\(", re.MULTILINE)
    return {name for file in files for name in pattern.findall(file.read_text("utf-8", errors="replace"))}
