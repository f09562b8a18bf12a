"""Reads a trainer's name: `nnUNetTrainerFESS_lambda0p8_100epochs` → the loss and its options. The one place that does.

nnU-Net keeps results in a folder named after the trainer and finds the trainer of a model by that name again, so a setting
that is not in the name is lost. Numbers are written with `p` for the decimal point and `em` for a negative exponent
(`0p8`, `1em4`), options come in one order, and never two underscores meet: `__` separates trainer, plans and configuration.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from nnunet_fess.plugin import Option, Settings, Term, Value
from nnunet_fess.trainers.catalogue import BUILT_IN, OPTIONS, Catalogue, Loss
from nnunet_fess.trainers.errors import NameRefused, NotOurs

_WHOLE = r"0|[1-9]\d*"
_NUMBER = rf"(?:{_WHOLE})(?:p\d*[1-9])?(?:em[1-9]\d*)?"


@dataclass(frozen=True)
class TrainerName:
    """A valid trainer name, taken apart.

    Attributes:
        name: the name as given, which is the canonical one.
        loss: its terms.
        options: key → value of the options that the name spells out.
    """

    name: str
    loss: Loss
    options: Mapping[str, Value]

    @property
    def settings(self) -> Settings:
        """All options of the trainer, spelt out or default."""
        return self.loss.settings(self.options)

    def settings_of(self, term: Term) -> Settings:
        """The options of one of its terms."""
        return self.loss.settings(self.options, term)

    def __getitem__(self, key: str) -> Value | None:
        """The value of an option, spelt out or default."""
        return self.settings[key]


def parse(name: str, catalogue: Catalogue = BUILT_IN) -> TrainerName:
    """Take a trainer's name apart.

    The name is read leniently, spelt canonically, and refused if that changed it: so the message can always name the right one.

    Args:
        name: such as ``nnUNetTrainerFESS_lambda0p8_100epochs``.
        catalogue: the terms that there are.

    Raises:
        NotOurs: the name does not begin with one of our trainers.
        NameRefused: it does, but what follows is misspelt, out of order, repeated or out of range; the message says which,
            lists the options and, where it can be told, the right name.
    """
    base, loss = _loss_of(name, catalogue)
    rest = name[len(base) :]
    problems = [] if name.startswith(base) else ["trainer names are case-sensitive"]
    if rest and not rest.startswith("_"):
        problems.append(f"options are set apart by '_', got {rest!r}")
    found: dict[str, tuple[Option, str]] = {}
    for token in rest.removeprefix("_").split("_") if rest else []:
        if not token:
            problems.append("an underscore with nothing behind it")
            continue
        option, text = _read(name, loss, token)
        if option.key in found:
            raise _error(name, loss, f"option {option.form!r} is given twice")
        if text != token:
            problems.append(f"unknown option {token!r}")
        found[option.key] = option, text
    for option, text in found.values():
        for other in sorted(option.excludes & found.keys()):
            raise _error(name, loss, f"options {text!r} and {found[other][1]!r} exclude each other")
    ordered = [found[option.key] for option in loss.options if option.key in found]
    canonical = "_".join([base, *(text for _, text in ordered)])
    if canonical != name:
        raise _error(name, loss, "; ".join(problems) or "options are out of order", canonical)
    return TrainerName(name, loss, MappingProxyType({option.key: _value(option, text) for option, text in ordered}))


def number_text(value: float) -> str:
    """A number as a name spells it: 0.8 → ``0p8``, 1e-4 → ``1em4``, 100 → ``100``."""
    if value and abs(value) < 1e-2:  # shorter as an exponent
        mantissa, exponent = f"{value:.11e}".split("e")
        return f"{float(mantissa):.12g}".replace(".", "p") + f"em{-int(exponent)}"
    return f"{value:.12f}".rstrip("0").rstrip(".").replace(".", "p")


def _loss_of(name: str, catalogue: Catalogue) -> tuple[str, Loss]:
    """The trainer that the name begins with; a longer word (`nnUNetTrainerDiceCELoss`) is somebody else's."""
    bases = catalogue.losses | catalogue.renamed
    for base in sorted(bases, key=len, reverse=True):
        if re.match(rf"{base}(?![A-Za-z])", name, re.IGNORECASE):
            return base, bases[base]
    near = difflib.get_close_matches(name.split("_")[0], catalogue.losses, n=3, cutoff=0.8)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise NotOurs(f"{name} is no trainer of nnunet-fess.{hint} All of them: nnunet_fess trainers")


def _read(name: str, loss: Loss, token: str) -> tuple[Option, str]:
    """The option that one suffix stands for, and how the suffix is spelt; the nearest option for a misspelt one."""
    for option in loss.options:
        if re.fullmatch(_pattern(option), token):
            return option, _in_range(name, loss, option, token)
    if any(re.fullmatch(_pattern(option), token) for option in OPTIONS):
        raise _error(name, loss, f"{loss.trainer} has no option {token!r}")
    number = re.search(r"\d+(?:[p.]\d+)?(?:em\d+|e-\d+)?", token)
    word = token.replace(number[0], "", 1) if number else token
    words = {option.word.lower(): option for option in loss.options}
    for near in difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6):
        option = words[near]
        mended = option.spelt(_tidy(number[0])) if number else option.form
        if re.fullmatch(_pattern(option), mended):
            return option, _in_range(name, loss, option, mended)
    raise _error(name, loss, f"unknown option {token!r}")


def _pattern(option: Option) -> str:
    return option.spelt(f"(?P<value>{_NUMBER if option.kind == 'number' else _WHOLE})")


def _value(option: Option, text: str) -> Value:
    match = re.fullmatch(_pattern(option), text)
    if match is None or option.kind == "switch":
        return True
    return int(match["value"]) if option.kind == "whole number" else _number(match["value"])


def _in_range(name: str, loss: Loss, option: Option, text: str) -> str:
    within, allowed = option.accepts
    if not within(_value(option, text)):
        raise _error(name, loss, f"option {text!r} is out of range; {option.form} takes {allowed}")
    return text


def _number(text: str) -> float:
    return float(text.replace("em", "e-").replace("p", "."))


def _tidy(number: str) -> str:
    """`0p80` → `0p8`, `007` → `7`; what is well spelt stays: `1em2` and `0p01` are both good."""
    return number if re.fullmatch(_NUMBER, number) else number_text(_number(number))


def _error(name: str, loss: Loss, what: str, canonical: str | None = None) -> NameRefused:
    advice = f" Write {canonical}." if canonical else ""
    options = "  ".join(f"_{option.form}" for option in loss.options)
    return NameRefused(
        f"{name}: {what}.{advice}\n"
        f"Options of {loss.trainer}, in this order (X a number such as 0p8 or 1em4, N a whole number): {options}"
    )
