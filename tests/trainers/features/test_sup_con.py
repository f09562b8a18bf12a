from __future__ import annotations

import pytest
import torch
from trainers.features.passes import LOGITS, seen, target

from nnunet_fess.losses import sup_con_loss
from nnunet_fess.losses.feature.class_means import class_means
from nnunet_fess.trainers.features.sup_con import SupConFeature


def test_sup_con_contrasts_class_means_with_those_of_earlier_batches():
    term = SupConFeature(channels=4, level=1, temperature=0.1, queue=16, ignore_label=None)
    rows, labels = zip(*(class_means(seen(i).skips[-1], target(i)[:, 0], 3) for i in (0, 1)), strict=True)
    term(seen(0), LOGITS, target(0))
    expected = sup_con_loss(term.head(rows[1]), labels[1], 0.1, term.head(rows[0]), labels[0])
    assert torch.allclose(term(seen(1), LOGITS, target(1)), expected)


def test_sup_con_reads_the_level_it_is_told():
    term = SupConFeature(channels=1, level=2, temperature=0.1, queue=16, ignore_label=None)
    rows, labels = class_means(seen().skips[0], target()[:, 0], 3)
    assert torch.allclose(term(seen(), LOGITS, target()), sup_con_loss(term.head(rows), labels, 0.1))


def test_sup_con_leaves_absent_and_ignored_classes_out():
    labels = torch.zeros(2, 1, 8, 8, dtype=torch.long)
    labels[0, :, :4] = 2
    labels[1, :, :4] = 3
    term = SupConFeature(channels=4, level=1, temperature=0.1, queue=16, ignore_label=3)
    term(seen(), LOGITS, labels)
    assert term.memory.recall()[1].tolist() == [0, 2, 0]


def test_sup_con_tells_regions_apart_by_the_set_a_voxel_lies_in():
    regions = torch.zeros(2, 2, 8, 8, dtype=torch.bool)
    regions[:, 0, :4] = True
    regions[1, 1, :2] = True
    term = SupConFeature(channels=4, level=1, temperature=0.1, queue=16, ignore_label=None)
    term(seen(), torch.zeros(2, 2, 8, 8), regions)
    assert term.memory.recall()[1].tolist() == [0, 1, 0, 1, 3]


def test_a_patch_that_is_ignored_altogether_gives_zero():
    term = SupConFeature(channels=4, level=1, temperature=0.1, queue=16, ignore_label=3)
    loss = term(seen(), LOGITS, torch.full((2, 1, 8, 8), 3))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_embedding_does_not_poison_the_next_step(value):
    term = SupConFeature(channels=4, level=1, temperature=0.1, queue=16, ignore_label=None)
    bad = seen()
    bad.skips[-1][0, 0, 0, 0] = value
    term(bad, LOGITS, target())
    assert term.memory.rejected > 0
    assert torch.isfinite(term(seen(1), LOGITS, target(1)))


def test_a_look_does_not_advance_the_memory():
    term = SupConFeature(channels=4, level=1, temperature=0.1, queue=8, ignore_label=None)
    term(seen(), LOGITS, target(), advance=False)
    assert term.memory.recall() is None
