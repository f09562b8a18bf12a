from __future__ import annotations

import pytest
import torch

from nnunet_fess.trainers.intensity_view import intensity_view


@pytest.mark.parametrize("dim", [2, 3])
def test_every_sample_and_channel_changes(dim):
    image = torch.randn(2, 3, *[8] * dim)
    view = intensity_view(image, 3)
    assert view.shape == image.shape
    assert ((view - image).flatten(2).abs().amax(2) > 1e-3).all()


def test_the_anatomy_stays():
    image = torch.randn(2, 1, 16, 16, 16)
    view = intensity_view(image, 1)
    for one, other in zip(image, view, strict=True):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.9


def test_the_labels_of_a_cascade_stay():
    image = torch.randn(2, 3, 8, 8)
    assert torch.equal(intensity_view(image, 1)[:, 1:], image[:, 1:])


def test_the_batch_itself_stays():
    image = torch.randn(2, 1, 8, 8)
    before = image.clone()
    intensity_view(image, 1)
    assert torch.equal(image, before)


@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_constant_image_gives_a_finite_view(value):
    assert torch.isfinite(intensity_view(torch.full((1, 1, 8, 8), value), 1)).all()


def test_a_seed_repeats_the_view():
    image = torch.randn(2, 1, 8, 8)
    views = []
    for _ in range(2):
        torch.manual_seed(3)
        views.append(intensity_view(image, 1))
    assert torch.equal(*views)
