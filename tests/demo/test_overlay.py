import json

import numpy as np
import pytest
import SimpleITK
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from nnunet_fess.demo.overlay import CLASSES, draw_case
from nnunet_fess.pictures.colours import OUTCOMES, distinct

LABELS = {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}


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
    (folder / "dataset.json").write_text(json.dumps({"channel_names": channels, "file_ending": ".nii.gz", "labels": LABELS}))
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
    assert all(_pixels(picture, colour) > 100 for colour in distinct(len(CLASSES)))
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


def test_says_what_it_is_and_how_good_each_region_is(dataset, tmp_path, monkeypatch):
    texts = []
    save = Figure.savefig

    def listen(figure, *arguments, **options):
        texts.extend(text.get_text() for text in figure.findobj(Text))
        return save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", listen)
    draw_case(dataset, "case", {"nnUNetTrainerFESS": tmp_path / "shifted"}, tmp_path / "overlay.png")
    shown = "\n".join(texts)
    assert "Phantom case" in shown
    assert "no patient" in shown
    # 100 of 104 voxels in a square of 10 and one of 2: shifted by two, 8 of 10 columns and none of the small one overlap.
    assert f"Dice {2 * 80 / 208:.2f}" in texts
    assert all(any(region in text for text in texts) for region in ("whole tumor", "tumor core", "enhancing tumor"))
    assert {"FESS", *CLASSES.values(), *OUTCOMES} <= set(texts)
