"""The contract by itself: what options and terms check when they are declared, and what settings tell."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from nnunet_fess.errors import UserError
from nnunet_fess.plugin import Option, RegionTerm, Settings, UnknownOption, above, at_least, between
from nnunet_fess.testing import host

GAMMA = Option("gamma", "gammaX", 2.0, "a number")
TOP = Option("top", "Ntop", None, "a whole number", "whole number", at_least(1))
HARD = Option("hard", "hard", False, "a switch", "switch")
SETTINGS = Settings("Mine", (GAMMA, TOP, HARD), {"gamma": 2.0, "top": None, "hard": True})


def test_it_needs_no_torch():
    code = "import sys, nnunet_fess.plugin\nassert not {'torch', 'numpy', 'nnunetv2'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("form", "kind", "word", "first"),
    [
        ("gammaX", "number", "gamma", False),
        ("Xmm", "number", "mm", True),
        ("Ntop", "whole number", "top", True),
        ("bf16", "switch", "bf16", False),
        ("noDS", "switch", "noDS", False),
    ],
)
def test_a_form_is_a_word_and_the_placeholder_of_its_kind(form, kind, word, first):
    option = Option("key", form, None, "help", kind)
    assert (option.word, option.number_first) == (word, first)


@pytest.mark.parametrize(
    ("form", "kind", "found"),
    [
        ("queueN", "number", "number is letters with one X"),
        ("adaptive", "number", "number is letters with one X"),
        ("gammaX", "whole number", "whole number is letters with one N"),
        ("XX", "number", "stands at both ends"),
        ("my_X", "number", "letters with one X"),
        ("n2X", "number", "letters with one X"),
        ("no_DS", "switch", "letters and digits"),
        ("gammaX", "float", "kind must be one of number, whole number, switch"),
    ],
)
def test_a_form_that_does_not_fit_the_kind_is_refused(form, kind, found):
    with pytest.raises(ValueError, match=found):
        Option("key", form, None, "help", kind)


@pytest.mark.parametrize(
    ("accepts", "inside", "outside", "words"),
    [
        (above(0), [1e-9, 5], [0, -1, float("inf"), float("nan")], "more than 0"),
        (at_least(1), [1, 5], [0.9, float("inf")], "1 or more"),
        (between(0, 1), [0, 1], [-0.1, 1.1, float("nan")], "0 to 1"),
    ],
)
def test_ranges(accepts, inside, outside, words):
    assert all(map(accepts.test, inside))
    assert not any(map(accepts.test, outside))
    assert accepts.words == words


def test_settings_are_typed():
    assert (SETTINGS.number("gamma"), SETTINGS.switch("hard"), SETTINGS.has("top")) == (2.0, True, False)
    assert Settings("Mine", (TOP,), {"top": 3}).whole("top") == 3


@pytest.mark.parametrize(
    ("ask", "error", "found"),
    [
        (lambda s: s.number("gama"), UnknownOption, "Mine has no option 'gama'. Did you mean 'gamma'?"),
        (lambda s: s["other"], UnknownOption, "Its options: gamma, top, hard"),
        (lambda s: s.whole("gamma"), TypeError, "is a number: ask for settings.number('gamma')"),
        (lambda s: s.number("hard"), TypeError, "is a switch: ask for settings.switch('hard')"),
        (lambda s: s.switch("top"), TypeError, "is a whole number: ask for settings.whole('top')"),
        (lambda s: s.whole("top"), TypeError, "ask has('top') first"),
    ],
)  # fmt: skip
def test_settings_asked_wrongly_say_what_to_ask(ask, error, found):
    with pytest.raises(error) as caught:
        ask(SETTINGS)
    assert found in str(caught.value)


def fails(settings, host):
    raise ZeroDivisionError("one by nothing")


@pytest.mark.parametrize(
    ("build", "found"),
    [
        (lambda: nn.Identity(), "must take (settings, host)"),
        (lambda settings: nn.Identity(), "must take (settings, host)"),
        (lambda settings, host: 3, "must return a torch.nn.Module. Got: int"),
        (lambda settings, host: None, "must return a torch.nn.Module. Got: NoneType"),
        (fails, "failed with ZeroDivisionError: one by nothing (test_plugin.py, line "),
        (lambda settings, host: settings.number("gama"), "Did you mean 'gamma'?"),
        ("no_such_package:build", "cannot be found: ModuleNotFoundError"),
        ("math:build", "cannot be found: AttributeError"),
        ("math:pi", "is no function. Got: float"),
    ],
)
def test_a_term_that_cannot_be_built_says_why(build, found):
    with pytest.raises(UserError) as caught:
        RegionTerm("Mine", "mine", build, (GAMMA,)).make(Settings("Mine", (GAMMA,), {"gamma": 2.0}), host())
    assert found in str(caught.value)
    assert "region term Mine" in str(caught.value)


def test_a_builder_is_a_function_or_its_place():
    made = RegionTerm("Mine", "mine", "torch.nn:Identity").make(Settings("Mine", (), {}), host())
    assert isinstance(made, nn.Identity)
