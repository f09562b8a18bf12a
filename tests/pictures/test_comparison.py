import numpy as np
import pytest
from matplotlib.colors import to_rgb

from nnunet_fess.pictures.colours import distinct
from nnunet_fess.pictures.comparison import Comparison, class_colours, dice, draw
from nnunet_fess.pictures.planes import Geometry


def test_dice():
    first, second = np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 1], bool)
    assert dice(first, second) == pytest.approx(4 / 6)
    assert np.isnan(dice(first & False, first & False))


def test_class_colours():
    names = {1: "one", 3: "three"}
    painted = class_colours(np.array([[0, 1, 2, 3]]), names)[0]
    assert painted[[0, 2], 3].tolist() == [0, 0]
    assert [tuple(painted[place, :3]) for place in (1, 3)] == [to_rgb(colour) for colour in distinct(2)]


@pytest.mark.parametrize("truth", ["empty", "full", "one voxel"])
def test_draws_whatever_there_is(tmp_path, truth):
    labels = np.full((4, 6, 8), truth == "full", np.uint8)
    labels[1, 2, 3] = truth != "empty"
    image = np.random.default_rng(0).normal(size=labels.shape)
    geometry = Geometry((5.0, 1.0, 1.0), np.array([[0, 0, -1], [0, -1, 0], [1, 0, 0]]))
    case = Comparison("title", geometry, {"CT": image}, labels, {"a": labels, "b": 1 - labels}, {1: "one"}, {"one": [1]})
    draw(case, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5_000
