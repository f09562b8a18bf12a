from __future__ import annotations

import pytest
import torch
from torch import nn

from nnunet_fess.losses import nt_xent_loss, sup_con_loss
from nnunet_fess.losses.feature.class_means import class_means
from nnunet_fess.trainers import features
from nnunet_fess.trainers.embedding_tap import TrainingPass
from nnunet_fess.trainers.features import ProjectionHead, SupConFeature, TwoViewsFeature

LOGITS = torch.zeros(2, 3, 8, 8)  # only the shape counts


@pytest.fixture(autouse=True)
def fixed_view(monkeypatch):
    monkeypatch.setattr(features, "intensity_view", lambda image, channels: 2 * image)


def encode(image: torch.Tensor) -> list[torch.Tensor]:
    """Two stages, of 1 and 4 channels."""
    first = image.sin()
    return [first, torch.cat([first, image, image**2, -first], 1)[:, :, ::4, ::4]]


def seen(seed: int = 0) -> TrainingPass:
    image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    return TrainingPass(image, encode(image), encode)


def target(seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 3, (2, 1, 8, 8), generator=torch.Generator().manual_seed(seed))


def projections(term: TwoViewsFeature, a_pass: TrainingPass) -> list[torch.Tensor]:
    return [term.head(encode(image)[-1].mean((2, 3))) for image in (a_pass.image, 2 * a_pass.image)]


def test_sim_clr_is_nt_xent_between_the_batch_and_its_view():
    term = TwoViewsFeature(channels=4, image_channels=1, temperature=0.5)
    expected = nt_xent_loss(*projections(term, seen()), temperature=0.5)
    assert torch.allclose(term(seen(), LOGITS, target()), expected)


def test_info_nce_takes_its_negatives_from_earlier_batches():
    term = TwoViewsFeature(channels=4, image_channels=1, temperature=0.1, queue=8)
    assert term(seen(0), LOGITS, target()) is None
    earlier = torch.cat(projections(term, seen(0)))
    expected = nt_xent_loss(*projections(term, seen(1)), temperature=0.1, queue=earlier)
    assert torch.allclose(term(seen(1), LOGITS, target()), expected)


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


@pytest.mark.parametrize("name", ["InfoNCE", "SupCon"])
def test_a_look_does_not_advance_the_memory(name):
    term = {
        "InfoNCE": TwoViewsFeature(channels=4, image_channels=1, temperature=0.1, queue=8),
        "SupCon": SupConFeature(channels=4, level=1, temperature=0.1, queue=8, ignore_label=None),
    }[name]
    term(seen(), LOGITS, target(), advance=False)
    assert term.memory.recall() is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_embedding_does_not_poison_the_next_step(value):
    term = SupConFeature(channels=4, level=1, temperature=0.1, queue=16, ignore_label=None)
    bad = seen()
    bad.skips[-1][0, 0, 0, 0] = value
    term(bad, LOGITS, target())
    assert term.memory.rejected > 0
    assert torch.isfinite(term(seen(1), LOGITS, target(1)))


def test_infinity_does_not_pass_the_heads_relu():
    head = ProjectionHead(4)
    nn.init.constant_(head[0].weight, 1.0)
    projected = head(torch.tensor([[-float("inf"), 0, 0, 0], [0, 0, 0, 1]]))
    assert projected.isfinite().all(1).tolist() == [False, True]


def test_the_head_projects_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ProjectionHead(4)(torch.randn(2, 4, dtype=torch.bfloat16)).dtype == torch.float32
