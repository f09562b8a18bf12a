"""Reads a trainer's name: `nnUNetTrainerFESS_lambda0p8_100epochs` → the loss and its options. The one place that does.

nnU-Net keeps results in a folder named after the trainer and finds the trainer of a model by that name again, so a setting
that is not in the name is lost. Numbers are written with `p` for the decimal point and `em` for a negative exponent
(`0p8`, `1em4`), options come in one order, and never two underscores meet: `__` separates trainer, plans and configuration.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from nnunet_fess.errors import did_you_mean
from nnunet_fess.plugin import Option, Settings, Term, Value
from nnunet_fess.trainers.catalogue import PREFIX, Catalogue, Loss
from nnunet_fess.trainers.errors import NameRefused, NotOurs
from nnunet_fess.trainers.registry import registry

# A number as people type it who do not know how names spell it.
_TYPED = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d*)(?:(?P<point>[.,p])(?P<part>\d+))?(?:e(?P<minus>m|-|\+?)(?P<exponent>\d{1,3}))?"
)

# A file system's folder has 255 characters, and nnU-Net adds the plans and the configuration.
_LONGEST = 200

# Letters that, beside the number of a misspelt option, may belong to the number: lamdap5, 100kepochs.
_BEFORE_A_NUMBER, _BEHIND_A_NUMBER = frozenset("pemx"), frozenset("pemkgthbcdunx")


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

    @property
    def remarks(self) -> list[str]:
        """What a user should know about values that are allowed and rarely meant, such as λ = 0."""
        settings = self.settings
        said = [text for option in self.loss.options for value, text in option.remarks if settings[option.key] == value]
        blended = self.loss.map is not None and self.loss.region is not None
        left = replace(self.loss, region=None) if blended and settings["alpha"] == 0 else self.loss  # what counts
        return [*left.remarks, *said]

    def __getitem__(self, key: str) -> Value | None:
        """The value of an option, spelt out or default."""
        return self.settings[key]


def parse(name: str, catalogue: Catalogue | None = None) -> TrainerName:
    """Take a trainer's name apart.

    The name is read leniently, spelt canonically, and refused if that changed it: so the message can name the right one,
    wherever it is clear what was meant.

    Args:
        name: such as ``nnUNetTrainerFESS_lambda0p8_100epochs``.
        catalogue: the terms that there are; None: ours and those of other packages.

    Raises:
        NotOurs: the name does not begin with one of our trainers.
        NameRefused: it does, but what follows is misspelt, out of order, repeated or out of range; the message says which,
            lists the options and, where it can be told, the right name.
    """
    if catalogue is None:
        catalogue = registry().catalogue
    base, loss = _loss_of(name, catalogue)
    if len(name) > _LONGEST:
        raise _error(
            f"{name[:40]}…", loss, f"the name has {len(name)} characters, and folders are named after it: at most {_LONGEST}"
        )
    rest = name[len(base) :]
    problems = [] if name.startswith(base) else ["trainer names are case-sensitive"]
    if rest and not rest.startswith("_"):
        problems.append(f"options are set apart by '_', got {rest!r}")
    found: dict[str, tuple[Option, str]] = {}
    for token in rest.removeprefix("_").split("_") if rest else []:
        if not token:
            problems.append("an underscore with nothing behind it")
            continue
        option, text = _read(name, loss, token, catalogue)
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
    return _spelt(Decimal(f"{value:.12g}"))


def _loss_of(name: str, catalogue: Catalogue) -> tuple[str, Loss]:
    """The trainer that the name begins with; a longer word (`nnUNetTrainerDiceCELoss`) is somebody else's."""
    bases = catalogue.losses | catalogue.renamed
    lower = name.lower()
    for base in sorted(bases, key=len, reverse=True):
        if lower.startswith(base.lower()) and not name[len(base) :][:1].isalpha():
            return base, bases[base]
    meant = _perhaps_meant(name, catalogue)
    refused = registry().refused
    broken = f" ({len(refused)} of other packages' terms are refused; it says why)" if refused else ""
    raise NotOurs(
        f"{name} is no trainer of nnunet-fess.{did_you_mean(meant)} All of them: nnunet_fess trainers{broken}",
        meant[0] if len(meant) == 1 else None,
    )


def _perhaps_meant(name: str, catalogue: Catalogue) -> list[str]:
    """Trainers that a name which begins with none of ours might have meant, with its options where they can be read."""
    if not name.lower().startswith(PREFIX.lower()):
        return []
    word, _, options = name[len(PREFIX) :].partition("_")
    if not word and options.strip("_"):
        # nnUNetTrainer_FESS_100epochs; or nnU-Net's own loss with options, which is called DiceCE here.
        candidates = [PREFIX + options, f"{PREFIX}DiceCE_{options}"]
        return [found for found in (_mended(candidate, catalogue) for candidate in candidates) if found][:1]
    words = {base[len(PREFIX) :].lower(): base for base in catalogue.losses}
    near = [words[each] for each in difflib.get_close_matches(word.lower(), words, n=3, cutoff=0.75)]
    for loss in catalogue.losses.values():  # nnUNetTrainerFESSDice, nnUNetTrainerCWCDFESS
        if word.lower() in map("".join, itertools.permutations(term.name.lower() for term in loss.terms)):
            near = [loss.trainer]
    return [_mended(f"{base}_{options}" if options else base, catalogue) or base for base in near]


def _mended(name: str, catalogue: Catalogue) -> str | None:
    """The name if it can be read, or else what is to be written in its place, if that is clear."""
    try:
        return parse(name, catalogue).name
    except NotOurs:
        return None
    except NameRefused as error:
        return error.advice


def _read(name: str, loss: Loss, token: str, catalogue: Catalogue) -> tuple[Option, str]:
    """The option that one suffix stands for, and how the suffix is spelt; what was meant by a misspelt one."""
    for option in loss.options:
        if re.fullmatch(option.pattern, token):
            return option, _in_range(name, loss, option, token)
    others = {option.form: option for other in catalogue.losses.values() for option in other.options}
    if any(re.fullmatch(option.pattern, token) for option in others.values()):
        raise _error(name, loss, f"{loss.trainer} has no option {token!r}")
    for option in loss.options:
        number = _number_beside(option.word, token)
        if number is not None:
            return option, _understood(name, loss, option, token, number)
    near, number = _nearest(loss, token)
    if near is None:
        raise _error(name, loss, f"unknown option {token!r}")
    if number is None:
        raise _error(name, loss, f"unknown option {token!r} (perhaps _{near.form}, but it is not clear which value is meant)")
    return near, _understood(name, loss, near, token, number)


def _understood(name: str, loss: Loss, option: Option, token: str, number: str) -> str:
    """The suffix that a misspelt one means.

    Args:
        name: for the message, as the next.
        loss: with that option.
        option: the one that is meant.
        token: the suffix as typed.
        number: what stands in it beside the word.

    Raises:
        NameRefused: the number cannot be told, or is none that the option takes.
    """
    problem = f"unknown option {token!r}"
    if option.kind == "switch":
        if number:
            raise _error(name, loss, f"{problem}; _{option.form} takes no value")
        return option.form
    if not number:
        raise _error(name, loss, f"{problem}; _{option.form} needs a number beside {option.word!r}")
    value = _typed(number)
    if value is None:
        raise _error(name, loss, f"{problem}; _{option.form} takes a {option.kind}, and {number!r} is not clear")
    if value.is_signed():
        raise _error(
            name, loss, f"{problem}; a name cannot say a negative number, and {option.form} takes {option.accepts.words}"
        )
    if option.kind == "whole number" and (
        value != value.to_integral_value() or not re.search(r"^\+?\d+(e\+?\d+)?$", number, re.I)
    ):
        raise _error(name, loss, f"{problem}; {option.form} takes a whole number")
    return _in_range(name, loss, option, option.spelt(_spelt(value)))


def _number_beside(word: str, token: str) -> str | None:
    """What stands beside an option's word, on whichever side; None if it is not there. Case does not count here."""
    lower, word = token.lower().replace("−", "-"), word.lower()
    sides = [lower[len(word) :]] if lower.startswith(word) else []
    sides += [lower[: -len(word)]] if lower.endswith(word) else []
    # A longer word is another one: `lambdas0p5`, `valiters` for `iters`. In a number are p and e only.
    return next((side.removeprefix("=") for side in sides if not re.search(r"[^\W\d_]{3}|[^\W\dempEMP_]", side)), None)


def _nearest(loss: Loss, token: str) -> tuple[Option | None, str | None]:
    """The option with the nearest word, and the number beside it if it is clear where the one ends and the other begins."""
    lower = token.lower()
    letters = max(re.findall(r"[^\W\d_]+", lower), key=len, default="")
    if not letters:
        return None, None
    before, _, behind = lower.partition(letters)
    # Among few letters every word is near, and means something else: cm for mm, beta for eta, noDA for noDS.
    words = {option.word.lower(): option for option in loss.options if len(option.word) > 3 + (option.kind == "switch")}
    for near in difflib.get_close_matches(letters, words, n=1, cutoff=0.7):
        option = words[near]
        if option.kind == "switch":
            return (option, "") if letters == lower and letters[0] == near[0] else (None, None)
        touching, expected = (letters[0], near[0]) if before else (letters[-1], near[-1])
        clear = touching == expected or touching not in (_BEHIND_A_NUMBER if before else _BEFORE_A_NUMBER)
        return option, (before or behind) if clear and not (before and behind) else None
    return None, None


def _typed(text: str) -> Decimal | None:
    """The number that somebody typed; None if it cannot be told."""
    match = _TYPED.fullmatch(text.lower())
    if match is None or not (match["whole"] or match["part"]):
        return None
    if match["point"] == "," and len(match["part"]) == 3 and match["whole"].strip("0"):
        return None  # 1,000 may be a thousand or one
    exponent = int(match["exponent"] or 0) * (-1 if match["minus"] in ("m", "-") else 1)
    if not -300 < exponent < 16:
        return None
    return Decimal(f"{match['sign']}{match['whole'] or 0}.{match['part'] or 0}e{exponent}")


def _spelt(number: Decimal) -> str:
    """A number as a name spells it, to the last digit."""
    if not number:
        return "0"
    exponent = number.adjusted() if number < Decimal("0.01") else 0  # shorter as an exponent
    digits = f"{number.scaleb(-exponent).normalize():f}".replace(".", "p")
    return f"{digits}em{-exponent}" if exponent else digits


def _value(option: Option, text: str) -> Value:
    match = re.fullmatch(option.pattern, text)
    if match is None or option.kind == "switch":
        return True
    if option.kind == "whole number":
        return int(match["value"])
    return float(match["value"].replace("em", "e-").replace("p", "."))


def _in_range(name: str, loss: Loss, option: Option, text: str) -> str:
    value = _value(option, text)
    if option.kind == "number" and (math.isinf(value) or (not value and re.search("[1-9].*em", text))):
        raise _error(
            name, loss, f"{text!r} is a number that no computer's float can hold; {option.form} takes {option.accepts.words}"
        )
    if not option.accepts.test(value):
        raise _error(name, loss, f"option {text!r} is out of range; {option.form} takes {option.accepts.words}")
    return text


def _error(name: str, loss: Loss, what: str, canonical: str | None = None) -> NameRefused:
    advice = f" Write {canonical}." if canonical else ""
    options = "  ".join(f"_{option.form}" for option in loss.options)
    return NameRefused(
        f"{name}: {what}.{advice}\n"
        f"Options of {loss.trainer}, in this order (X a number such as 0p8 or 1em4, N a whole number): {options}",
        canonical,
    )
