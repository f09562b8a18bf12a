import json

import numpy as np
import pytest
import SimpleITK
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from nnunet_fess.demo.overlay import CLASSES, OUTCOMES, classes, draw_case, outcomes


def _write(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(file))


@pytest.fixture
def dataset(tmp_path):
    """One case whose tumour is largest on slice 3, and two predictions: nothing, and the truth shifted by two voxels."""
    rng = np.random.default_rng(0)
    truth = np.zeros((6, 20, 24), np.uint8)
    truth[3, 5:15, 5:15] = 1
    truth[3, 7:13, 7:13] = 3
    truth[3, 9:11, 9:11] = 2
    truth[4, 9:11, 9:11] = 1
    folder = tmp_path / "Dataset517_BraTS2017"
    for channel in range(4):
        _write(folder / "imagesTs" / f"case_{channel:04d}.nii.gz", rng.integers(1, 900, truth.shape).astype(np.int16))
    _write(folder / "labelsTs" / "case.nii.gz", truth)
    _write(tmp_path / "nothing" / "case.nii.gz", np.zeros_like(truth))
    _write(tmp_path / "shifted" / "case.nii.gz", np.roll(truth, 2, axis=2))
    channels = {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}
    (folder / "dataset.json").write_text(json.dumps({"channel_names": channels, "file_ending": ".nii.gz"}))
    return folder


def _pixels(picture, colour):
    """How many pixels of a drawing have a hue as saturated as the translucent colour gives over grey."""
    hue = np.array(to_rgb(colour)) - np.mean(to_rgb(colour))
    got = picture[..., :3] - picture[..., :3].mean(-1, keepdims=True)
    norm = np.linalg.norm(got, axis=-1)
    return int(((got @ hue > 0.97 * norm * np.linalg.norm(hue)) & (norm > 0.2)).sum())


def test_draws_image_truth_and_predictions(dataset, tmp_path):
    target = tmp_path / "overlay_case.png"
    draw_case(dataset, "case", {"nnUNetTrainerFESS": tmp_path / "shifted"}, target)
    picture = imread(target)
    assert all(_pixels(picture, colour) > 100 for _, colour in CLASSES.values())
    assert all(_pixels(picture, colour) > 100 for colour in OUTCOMES.values())


def test_an_empty_prediction_has_no_true_positive(dataset, tmp_path):
    drawn = {}
    for folder in ("nothing", "shifted"):
        draw_case(dataset, "case", {"nnUNetTrainer": tmp_path / folder}, tmp_path / "overlay.png")
        drawn[folder] = _pixels(imread(tmp_path / "overlay.png"), OUTCOMES["true positive"])
    assert drawn["shifted"] > 5 * drawn["nothing"]  # the legend's patch stays


def test_one_column_per_trainer(dataset, tmp_path):
    widths = []
    for count in (1, 3):
        predictions = {f"nnUNetTrainer{number}": tmp_path / "shifted" for number in range(count)}
        draw_case(dataset, "case", predictions, tmp_path / "overlay.png")
        widths.append(imread(tmp_path / "overlay.png").shape[1])
    assert widths[1] / widths[0] == pytest.approx(5 / 3, rel=0.01)


def test_outcomes():
    predicted, truth = np.array([[1, 1, 0, 0]], bool), np.array([[1, 0, 1, 0]], bool)
    colours = outcomes(predicted, truth)[0]
    assert [tuple(colour[:3]) for colour in colours[:3]] == [to_rgb(colour) for colour in OUTCOMES.values()]
    assert (colours[:3, 3] > 0).all()
    assert colours[3, 3] == 0


def test_classes():
    colours = classes(np.array([[0, 1, 2, 3]]))[0]
    assert colours[0, 3] == 0
    assert [tuple(colour[:3]) for colour in colours[1:]] == [to_rgb(CLASSES[value][1]) for value in (1, 2, 3)]
