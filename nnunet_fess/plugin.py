"""The contract between nnunet-fess and a loss, its own losses and those of other packages alike. Free of torch.

A *term* declares what stands in a trainer's name, its options, and where the function is that builds it. A trainer has up to
three: ``nnUNetTrainer`` + feature + map + region. A package of yours offers terms by a module with a tuple `TERMS`::

    [project.entry-points."nnunet_fess.terms"]
    my-losses = "my_losses.terms"

Example:
    >>> ALPHA = Option("tvalpha", "tvalphaX", 0.3, "weight of false positives", accepts=between(0, 1))
    >>> TERMS = (RegionTerm("MyTversky", "Tversky index", build="my_losses.tversky:build", options=(ALPHA,)),)
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import re
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, TypedDict

from nnunet_fess.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

CONTRACT = 1
"""Version of what this module says. A module of terms may state the one that it was written for, as its own `CONTRACT`."""
KNOWN_CONTRACTS = frozenset({1})

Value = float | int | bool
Kind = Literal["number", "whole number", "switch"]
WHOLE = r"0|[1-9]\d*"
NUMBER = rf"(?:{WHOLE})(?:p\d*[1-9])?(?:em[1-9]\d*)?"
PLACEHOLDER: dict[Kind, str] = {"number": "X", "whole number": "N", "switch": ""}


class Accepts(NamedTuple):
    """Which values an option takes, as a test and in words."""

    test: Callable[[float], bool]
    words: str


ANYTHING = Accepts(lambda _: True, "anything")


def above(low: float) -> Accepts:
    """More than `low`."""
    return Accepts(lambda value: low < value < math.inf, f"more than {low:g}")


def at_least(low: float) -> Accepts:
    """`low` or more."""
    return Accepts(lambda value: low <= value < math.inf, f"{low:g} or more")


def between(low: float, high: float) -> Accepts:
    """`low` to `high`, both included."""
    return Accepts(lambda value: low <= value <= high, f"{low:.10g} to {high:.10g}")


@dataclass(frozen=True)
class Option:
    """One suffix of a trainer's name, such as ``_lambda0p8``, ``_100epochs`` or ``_adaptive``.

    Attributes:
        key: the setting's name in `Settings`.
        form: the suffix as the user writes it: a word of letters with the placeholder of its kind before or behind it, X for a
            number (``lambdaX``, ``Xmm``), N for a whole number (``queueN``); a switch is the word alone.
        default: the value without the suffix; None where the host's own applies.
        help: one line for `nnunet_fess trainers`.
        kind: what stands in the suffix.
        accepts: which values are allowed.
        excludes: keys of options that say the same thing another way.
        everywhere: every trainer has it; for nnunet-fess's own options only.
        remarks: pairs of a value that is allowed and rarely meant, and what a training with it should be told.

    Raises:
        ValueError: the form does not fit the kind.
    """

    key: str
    form: str
    default: Value | None
    help: str
    kind: Kind = "number"
    accepts: Accepts = ANYTHING
    excludes: frozenset[str] = frozenset()
    everywhere: bool = False
    remarks: tuple[tuple[float, str], ...] = ()

    def __post_init__(self) -> None:
        """Check the form."""
        if self.kind not in PLACEHOLDER:
            raise ValueError(f"option {self.key!r}: kind must be one of {', '.join(PLACEHOLDER)}. Got: {self.kind!r}")
        letter = PLACEHOLDER[self.kind]
        form = {"switch": r"[A-Za-z]\w*"}.get(self.kind, rf"{letter}[A-Za-z]+|[A-Za-z]+{letter}")
        if not re.fullmatch(form, self.form, re.ASCII) or "_" in self.form:
            expected = f"letters with one {letter} before or behind them" if letter else "letters and digits"
            raise ValueError(
                f"option {self.key!r}: the form of a {self.kind} is {expected}. Got: {self.form!r} (kinds and their "
                "placeholders: number X, whole number N, switch none)"
            )
        if letter and self.form.startswith(letter) and self.form.endswith(letter):
            raise ValueError(f"option {self.key!r}: where is the number in {self.form!r}? {letter} stands at both ends.")

    @property
    def word(self) -> str:
        """The form without its placeholder."""
        letter = PLACEHOLDER[self.kind]
        if not letter:
            return self.form
        return self.form[1:] if self.number_first else self.form[:-1]

    @property
    def number_first(self) -> bool:
        """Whether the number stands before the word."""
        return self.kind != "switch" and self.form.startswith(PLACEHOLDER[self.kind])

    @property
    def pattern(self) -> str:
        """Regular expression of the suffix as names spell it; the group `value` is the number."""
        return self.spelt(f"(?P<value>{NUMBER if self.kind == 'number' else WHOLE})")

    def spelt(self, number: str) -> str:
        """The suffix with that number in it; a switch has none."""
        if self.kind == "switch":
            return self.form
        return number + self.word if self.number_first else self.word + number

    def says_the_same_as(self, other: Option) -> bool:
        """Whether both are one option, up to the default."""
        return (self.key, self.form, self.kind, self.help) == (other.key, other.form, other.kind, other.help)


class UnknownOption(KeyError):
    """A term asked for an option that it did not declare."""

    def __str__(self) -> str:
        """The message, without the quotes that a KeyError puts around it."""
        return str(self.args[0])


class Settings(Mapping[str, "Value | None"]):
    """The options of a trainer's name as one term sees them: its own, spelt out or default.

    Args:
        owner: whose they are, for messages.
        options: which there are.
        values: key → value; None where the host's own applies.
    """

    def __init__(self, owner: str, options: Sequence[Option], values: Mapping[str, Value | None]):
        self.owner = owner
        self._options = {option.key: option for option in options}
        self._values = dict(values)

    def number(self, key: str) -> float:
        """The value of a number.

        Raises:
            UnknownOption: the term declares no such option; the message has the nearest.
            TypeError: the option is a switch, or has no value.
        """
        return float(self._of_kind(key, "number", "whole number"))

    def whole(self, key: str) -> int:
        """The value of a whole number; raises as `number`."""
        return int(self._of_kind(key, "whole number"))

    def switch(self, key: str) -> bool:
        """Whether a switch is on; raises as `number`."""
        return bool(self._of_kind(key, "switch"))

    def has(self, key: str) -> bool:
        """Whether an option has a value: it is spelt out, or has a default."""
        return self[key] is not None

    def __getitem__(self, key: str) -> Value | None:
        """The value of an option of any kind; None where the host's own applies."""
        self._option(key)
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        """The keys, in the order of a name."""
        return iter(self._options)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._options)

    def _option(self, key: str) -> Option:
        if key not in self._options:
            near = difflib.get_close_matches(str(key), self._options, n=1)
            hint = did_you_mean([repr(name) for name in near])
            there = ", ".join(self._options) or "none"
            raise UnknownOption(f"{self.owner} has no option {key!r}.{hint} Its options: {there}.")
        return self._options[key]

    def _of_kind(self, key: str, *kinds: Kind) -> Value:
        option, value = self._option(key), self[key]
        if option.kind not in kinds:
            ask = {"number": "number", "whole number": "whole", "switch": "switch"}[option.kind]
            raise TypeError(f"option {key!r} of {self.owner} is a {option.kind}: ask for settings.{ask}({key!r}).")
        if value is None and option.kind == "switch":
            return False
        if value is None:
            raise TypeError(f"option {key!r} of {self.owner} has no value unless the name gives one: ask has({key!r}) first.")
        return value


class _Common(TypedDict):
    ignore_label: int | None
    distributed: bool


class _Dice(_Common):
    batch_dice: bool


class _Grid(TypedDict):
    spacing: Sequence[float]
    patch_size: Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Host:
    """What nnU-Net knows and a loss has to: `common`, `dice` and `grid` are the keyword arguments of `nnunet_fess.losses`.

    Attributes:
        spacing: mm per axis of the configuration, in the array's order.
        patch_size: voxels per axis of the patch that has this spacing; deep supervision's scales follow from it.
        classes: name of every channel of the network's output, in order: the labels, background first, or the regions.
        has_regions: the channels are regions (sigmoid, may overlap; the target is (B, C, *spatial)), not labels (softmax, the
            target is a label map (B, 1, *spatial)).
        ignore_label: label whose voxels do not count; None without one, and with regions, which carry a mask as last channel.
        batch_dice: sum Dice over the batch instead of averaging samples (nnU-Net's plans decide).
        distributed: sum over all DDP ranks.
        epochs: how many the training has.
        epoch: the one that runs, from 0.
        own_loss: builds nnU-Net's own loss of one scale; None outside of nnU-Net.
    """

    spacing: Sequence[float]
    patch_size: Sequence[int]
    classes: Sequence[str]
    has_regions: bool = False
    ignore_label: int | None = None
    batch_dice: bool = False
    distributed: bool = False
    epochs: int = 1000
    epoch: Callable[[], int] = lambda: 0
    own_loss: Callable[[], nn.Module] | None = None

    @property
    def common(self) -> _Common:
        """What every loss of ours takes."""
        return {"ignore_label": self.ignore_label, "distributed": self.distributed}

    @property
    def dice(self) -> _Dice:
        """What a loss of ours with a Dice ratio takes."""
        return {"ignore_label": self.ignore_label, "distributed": self.distributed, "batch_dice": self.batch_dice}

    @property
    def grid(self) -> _Grid:
        """What a loss of ours that measures in mm takes."""
        return {"spacing": self.spacing, "patch_size": self.patch_size}


@dataclass(frozen=True, kw_only=True)
class FeatureHost(Host):
    """What a feature term may know besides.

    Attributes:
        stages: channels of the encoder's stages, the bottleneck last.
        image_channels: input channels that are images, as opposed to a cascade's labels.
        learning_rate: the optimizer's, at the time of the call.
        decoder_channels: to be called by a term that reads the decoder: has its last feature map taken and tells its channels.
    """

    stages: Sequence[int]
    image_channels: int
    learning_rate: Callable[[], float]
    decoder_channels: Callable[[], int] = lambda: _no_decoder()


def _no_decoder() -> int:
    raise UserError("the term reads the decoder's features, and nobody has told the host how to take them (decoder_channels).")


Build = Callable[[Settings, Any], Any]


@dataclass(frozen=True)
class Term:
    """One part of a loss and of a trainer's name; see the three kinds of it.

    Attributes:
        name: as in a trainer's name: ASCII letters and digits.
        summary: one line.
        build: a function of (settings, host), or where it is, "package.module:function".
        options: those it understands.
        defaults: key → default, where it differs from the option's own.
    """

    name: str
    summary: str
    build: Build | str
    options: tuple[Option, ...] = ()
    defaults: Mapping[str, Value] = field(default_factory=dict, hash=False)

    slot: ClassVar[Literal["feature", "map", "region"]]

    def __post_init__(self) -> None:
        """Have what does not change be unchangeable."""
        object.__setattr__(self, "options", tuple(self.options))
        object.__setattr__(self, "defaults", MappingProxyType(dict(self.defaults)))

    def default(self, option: Option) -> Value | None:
        """The value that an option has for this term when the name does not spell it out."""
        return self.defaults.get(option.key, option.default)

    def make(self, settings: Settings, host: Host) -> nn.Module:
        """Have it built.

        Args:
            settings: of this term's options.
            host: what nnU-Net knows; a `FeatureHost` for a feature term.

        Raises:
            UserError: the builder is not there, cannot take (settings, host), fails, or returns something else than a module.
        """
        from torch import nn

        build = self._builder()
        try:
            inspect.signature(build).bind(settings, host)
        except TypeError as error:
            raise UserError(f"{self._where()} must take (settings, host): {error}.") from error
        except ValueError:  # a built-in that does not tell its signature
            pass
        try:
            made = build(settings, host)
        except UserError:
            raise
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(last.filename).name}, line {last.lineno}"
            raise UserError(f"{self._where()} failed with {type(error).__name__}: {error} ({place}).") from error
        if not isinstance(made, nn.Module):
            raise UserError(f"{self._where()} must return a torch.nn.Module. Got: {type(made).__name__}")
        return made

    def _where(self) -> str:
        build = self.build if isinstance(self.build, str) else getattr(self.build, "__qualname__", repr(self.build))
        return f"the builder {build} of the {self.slot} term {self.name}"

    def _builder(self) -> Build:
        if not isinstance(self.build, str):
            return self.build
        module, _, path = self.build.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for part in path.split("."):
                found = getattr(found, part)
        except (ImportError, AttributeError, ValueError, SyntaxError) as error:
            raise UserError(f"{self._where()} cannot be found: {type(error).__name__}: {error}.") from error
        if not callable(found):
            raise UserError(f"{self._where()} is no function. Got: {type(found).__name__}")
        builder: Build = found
        return builder


class RegionTerm(Term):
    """A loss of the network's output: a module of (net_output, target), a scalar >= 0. The last part of a trainer's name.

    `net_output` (B, C, *spatial) are logits, `target` (B, 1, *spatial) labels or (B, C, *spatial) regions, see `Host`. It is
    called once per scale of deep supervision, in validation too.
    """

    slot = "region"


class MapTerm(Term):
    """A loss that weighs the network's output by a map of the target, called like that of a `RegionTerm`.

    It stands before the region in a trainer's name, or alone; with a region, both are blended.
    """

    slot = "map"


class FeatureTerm(Term):
    """A loss of the features of a training pass: a module as `nnunet_fess.trainers.features.FeatureLoss` describes it.

    It comes first in a trainer's name; λ·spatial + (1 - λ)·feature, `defaults` may say another λ than 0.5.
    """

    slot = "feature"
