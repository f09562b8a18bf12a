from __future__ import annotations

from nnunet_fess.doctor.examination import examine
from nnunet_fess.doctor.finding import fine


def test_a_check_that_fails_is_a_finding_and_the_others_go_on():
    def broken():
        raise KeyError("x")

    found = list(examine([broken, lambda: fine("second", "well")]))
    assert [finding.level for finding in found] == ["wrong", "fine"]
    assert "broken" in found[0].check
    assert "KeyError" in found[0].found


def test_a_check_may_find_several_things():
    assert len(list(examine([lambda: [fine("a", "x"), fine("b", "y")]]))) == 2
