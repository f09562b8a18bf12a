from __future__ import annotations

import torch

from nnunet_fess.losses import CrossEntropyLoss, DiceCELoss, DiceLoss


def test_is_the_sum_of_its_parts(small):
    expected = DiceLoss(smooth=0.1, batch_dice=True)(*small) + CrossEntropyLoss()(*small)
    assert torch.allclose(DiceCELoss(smooth=0.1, batch_dice=True)(*small), expected)


def test_is_nnunets_default_plus_1(small):
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    options = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    theirs = DC_and_CE_loss(options, {}, dice_class=MemoryEfficientSoftDiceLoss)
    logits, labels = small[0].float(), small[1]
    assert torch.allclose(DiceCELoss(batch_dice=True)(logits, labels), theirs(logits, labels) + 1)
