import pytest
import torch
from tversky_plugin.loss import LogTverskyLoss
from tversky_plugin.terms import TERMS

from nnunet_fess.testing import checks


@pytest.mark.parametrize("check", checks(TERMS[0], fp=0.4), ids=str)
def test_it_does_all_that_a_loss_must(check):
    check()


def test_closed_form():
    # Everything is 0.5: TP = 8, FP = 0, FN = 8 of 16 voxels.
    value = LogTverskyLoss(fn=0.7)(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4))
    assert value.item() == pytest.approx(torch.tensor(1 + 0.7).log().item(), rel=1e-5)
