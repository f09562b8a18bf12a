"""Label values, and whose word counts where a header says that axes point the other way."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataset_conversion.check import BLOCK, UNMAPPED, _judge_flip, correlation_ratio, looked_up
from dataset_conversion.errors import ConversionError
from dataset_conversion.volumes import Volume
from dataset_conversion.volumes.geometry import flip

LABEL_MAP = {0: 0, 2: 1, 1: 2, 4: 3}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3 * BLOCK), st.integers(0, 1000), st.floats(0, 1))
def test_lookup_is_that_of_a_plain_loop(size: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(size) < share**4, rng.integers(0, 256, size), 0).astype(np.uint8)
    assert looked_up(values, LABEL_MAP).voxels.tolist() == [LABEL_MAP.get(value, UNMAPPED) for value in values.tolist()]


@pytest.mark.parametrize("position", [0, BLOCK - 1, BLOCK, 3 * BLOCK - 1, 3 * BLOCK + 5])
def test_a_single_unknown_value_is_found_wherever_it_is(position: int) -> None:
    values = np.zeros(3 * BLOCK + 6, np.uint8)
    values[position] = 3
    assert np.flatnonzero(looked_up(values, LABEL_MAP).voxels == UNMAPPED).tolist() == [position]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3 * BLOCK), st.integers(0, 1000), st.sampled_from([0.0, 0.001, 0.5]))
def test_lookup_tells_what_values_it_found(size: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(size) < share, rng.choice([1, 2, 4], size), 0).astype(np.uint8)
    assert looked_up(values, LABEL_MAP).found - {0} == set(values.tolist()) - {0}


def test_correlation_ratio_by_hand() -> None:
    image = np.array([0, 1, 1, 3, 3])  # 0 is outside the head
    assert correlation_ratio(np.array([0, 0, 0, 1, 1]), image) == 1
    assert correlation_ratio(np.array([0, 0, 1, 0, 1]), image) == 0
    # means 5/3 and 3 around 2: (3 * 1/9 + 1) / 4
    assert correlation_ratio(np.array([1, 0, 0, 0, 1]), image) == pytest.approx(1 / 3)


def test_correlation_ratio_of_nothing_to_explain() -> None:
    assert correlation_ratio(np.array([0, 1, 1]), np.array([0, 5, 5])) == 0


def head(lesion: int, seed: int = 0) -> tuple[Volume, np.ndarray]:
    """A noisy symmetric brain of 40³ voxels in FLAIR, with a bright lesion of `lesion`³ voxels left of the middle."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 40)] * 3, indexing="ij"))
    brain = (grid**2).sum(0) < 0.8
    label = np.zeros(brain.shape, np.uint8)
    label[6 : 6 + lesion, 18 : 18 + lesion, 18 : 18 + lesion] = 1
    image = np.where(brain, rng.normal(300, 40, brain.shape) + 120 * label, 0).astype(np.int16)
    header = nib.Nifti1Header()
    header.set_data_shape(image.shape)
    return Volume(header, image.ravel(order="F"), None, 0, 0), label.ravel(order="F")


@pytest.mark.parametrize("lesion", [4, 6, 12])
def test_header_that_wrongly_says_flipped_is_not_believed(lesion: int) -> None:
    image, label = head(lesion)
    assert _judge_flip(image, label, image, (0,)) == ()


@pytest.mark.parametrize("lesion", [4, 6, 12])
def test_header_that_rightly_says_flipped_is_believed(lesion: int) -> None:
    image, label = head(lesion)
    assert _judge_flip(image, flip(label, image.shape, (0,)), image, (0,)) == (0,)


@pytest.mark.parametrize("seed", range(5))
def test_label_that_fits_nothing_decides_nothing(seed: int) -> None:
    image, _ = head(0, seed)
    _, label = head(6)
    with pytest.raises(ConversionError, match="the voxels do not tell whether to believe it"):
        _judge_flip(image, label, image, (0,))
