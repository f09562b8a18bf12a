from __future__ import annotations

import pytest
from matrix.refusals import REFUSALS, said


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_work_is_refused_before_the_first_epoch(what):
    refusal, reason = REFUSALS[what]
    assert reason in said(refusal)
