from __future__ import annotations

from functools import partial

import pytest

from nnunet_fess.doctor.examination import examine
from nnunet_fess.doctor.finding import fine


def test_a_check_that_fails_is_a_finding_and_the_others_go_on():
    def broken():
        raise KeyError("x")

    found = list(examine([broken, lambda: fine("second", "well")]))
    assert [finding.level for finding in found] == ["wrong", "fine"]
    assert "broken" in found[0].check
    assert "KeyError" in found[0].found


@pytest.mark.parametrize("error", [SystemExit("bye"), RuntimeError("two\nlines"), OSError(13, "no")])
def test_a_check_that_fails_is_named_by_what_it_looked_at_in_one_line(error):
    def variable(name):
        raise error

    (found,) = examine([partial(variable, "nnUNet_raw")])
    assert found.check == "variable nnUNet_raw"
    assert "\n" not in found.found
    assert found.level == "wrong"


def test_a_check_may_find_several_things():
    assert len(list(examine([lambda: [fine("a", "x"), fine("b", "y")]]))) == 2
