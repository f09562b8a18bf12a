import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nnunet_fess.pictures.colours import MARKED, OUTCOMES, distinct, outcomes, paint

# Machado et al. 2009: what someone without one kind of cones sees, on linear RGB.
BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def _seen(colour, matrix):
    """CIELAB of a colour as such an eye sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", ["usual", *BLIND])
@pytest.mark.parametrize(
    "colours", [list(OUTCOMES.values()), distinct(4), [*distinct(3), MARKED]], ids=["outcomes", "four", "marked"]
)
def test_every_eye_tells_them_apart(eye, colours):
    matrix = BLIND.get(eye, np.eye(3))
    assert min(np.linalg.norm(_seen(a, matrix) - _seen(b, matrix)) for a, b in itertools.combinations(colours, 2)) > 15


@pytest.mark.parametrize("number", [0, 1, 6, 7, 15, 60])
def test_there_are_enough_that_differ(number):
    assert len(set(distinct(number))) == number


def test_outcomes():
    predicted, truth = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 1, 0]], bool)
    colours = outcomes(predicted, truth)[0]
    assert [tuple(colour[:3]) for colour in colours[:3]] == [to_rgb(colour) for colour in OUTCOMES.values()]
    assert (colours[:3, 3] > 0).all()
    assert colours[3, 3] == 0


def test_a_later_mask_covers_an_earlier_one():
    painted = paint((1, 2), {"#ff0000": np.array([[True, True]]), "#0000ff": np.array([[False, True]])}, 0.5)
    assert painted[0].tolist() == [[1, 0, 0, 0.5], [0, 0, 1, 0.5]]
