from __future__ import annotations

import pytest
import torch

from nnunet_fess.losses import DiceLoss, GDLoss


def test_equals_plain_loops(small):
    logits, labels = small
    expected = 0.0
    for x, y in zip(logits.softmax(1), labels[:, 0], strict=True):
        present = [j for j in (1, 2) if (y == j).any()]
        above = below = 0.0
        for j in (1, 2):
            rarity = 1 / int((y == j).sum()) ** 2 if j in present else max(1 / int((y == k).sum()) ** 2 for k in present)
            above += 2 * rarity * x[j][y == j].sum().item()
            below += rarity * (x[j].sum().item() + int((y == j).sum()))
        expected += (1 - above / below) / 2
    assert GDLoss(smooth=1e-6)(logits, labels).item() == pytest.approx(expected, rel=1e-6)


def test_one_class_is_plain_dice(small):
    logits, labels = small[0][:, :2], small[1] > 0
    assert torch.allclose(GDLoss(batch_dice=True)(logits, labels), DiceLoss(batch_dice=True)(logits, labels))


def test_an_empty_patch_is_no_reward():
    empty = torch.zeros(1, 1, 4, 4)
    sure = torch.zeros(1, 3, 4, 4)
    sure[:, 0] = 100.0
    assert GDLoss()(sure, empty) == 0
    assert GDLoss()(torch.zeros(1, 3, 4, 4), empty).item() == pytest.approx(1.0, abs=1e-5)
    assert GDLoss("released")(sure, empty) == -1, "what the docstring says of the released code"


@pytest.mark.parametrize("case", ["0n1_", "1n1_", "2n1_", "3n1_"])
def test_released_equals_the_authors(golden, case):
    values = golden("cwcd")
    logits, labels = torch.from_numpy(values[case + "logits"]), torch.from_numpy(values[case + "labels"])[:, None]
    assert GDLoss("released")(logits, labels).item() == pytest.approx(values[case + "gdl"], rel=1e-5)
