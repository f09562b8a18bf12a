"""Folders against folders: the right files, the right labels, every problem told, the numbers of nnU-Net."""

import json
import math

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_fess.errors import UserError
from nnunet_fess.study import evaluate as folders
from nnunet_fess.study.evaluate import Question, evaluate, pair_up, question_of, question_without_labels


def write(path, labels, spacing=(1.0, 2.0, 3.0), origin=(0.0, 0.0, 0.0)):
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))


def volume(seed, size=(6, 9, 8)):
    rng = np.random.default_rng(seed)
    labels = np.zeros(size, np.uint8)
    labels[1:5, 2:7, 2:6] = rng.integers(0, 3, (4, 5, 4))
    return labels


@pytest.fixture
def two(tmp_path):
    """Predictions and truth of three cases."""
    for name, offset in (("predictions", 10), ("truth ä", 0)):
        (tmp_path / name).mkdir()
        for case in range(3):
            write(tmp_path / name / f"case_{case}.nii.gz", volume(case + offset))
    return tmp_path / "predictions", tmp_path / "truth ä"


def test_dice_is_nnunets_to_1e9(two):
    question = Question({"one": (1,), "both": (1, 2)}, ("dice", "iou"))
    found = evaluate(pair_up(*two)[0], question, 1)
    theirs = compute_metrics_on_folder(str(two[1]), str(two[0]), None, SimpleITKIO(), ".nii.gz", [1, (1, 2)], num_processes=1)
    for structure, key in (("one", 1), ("both", (1, 2))):
        assert found.mean(structure, "dice") == pytest.approx(theirs["mean"][key]["Dice"], abs=1e-9)
        assert found.mean(structure, "iou") == pytest.approx(theirs["mean"][key]["IoU"], abs=1e-9)


def test_two_workers_find_what_one_finds(two):
    question = Question({"one": (1,)})
    one, both = (evaluate(pair_up(*two)[0], question, workers) for workers in (1, 2))
    assert folders.to_json(one) == folders.to_json(both)
    assert list(both.cases) == ["case_0", "case_1", "case_2"]


def test_lengths_use_the_files_spacing(two):
    labels = np.zeros((5, 5, 5), np.uint8)
    labels[2, 2, 2] = 1
    write(two[1] / "case_0.nii.gz", labels)
    write(two[0] / "case_0.nii.gz", np.roll(labels, 1, 0))  # one voxel along z, which are 3 mm
    assert evaluate(pair_up(*two)[0], Question({"one": (1,)}, ("hd95",)), 1).cases["case_0"]["one"]["hd95"] == 3


def test_structures_are_those_of_dataset_json(tmp_path):
    path = tmp_path / "dataset.json"
    labels = {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}
    path.write_text(json.dumps({"labels": labels, "overwrite_image_reader_writer": "NibabelIO"}))
    question = question_of(path, metrics=("dice",))
    assert question == Question({"whole": (1, 2), "core": (2,)}, ("dice",), ignore_label=3, reader="NibabelIO")


@pytest.mark.parametrize(
    "content",
    [
        *("[]", "{}", '{"labels": {"a": "x"}}', '{"labels": []}', "{"),
        *('{"labels": {"a": -1}}', '{"labels": {"a": 1.5}}', '{"labels": {"a": []}}', '{"labels": {"background": 0}}'),
    ],
)
def test_a_dataset_json_without_labels_is_told(tmp_path, content):
    path = tmp_path / "dataset.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"dataset\.json"):
        question_of(path)


def test_without_dataset_json_labels_are_numbers(two):
    assert question_without_labels(pair_up(*two)[0]).structures == {"1": (1,), "2": (2,)}


def test_the_dataset_json_of_the_predictions_comes_first(two):
    (two[1].parent / "dataset.json").write_text("{}")
    assert folders.dataset_json_of(*two) == two[1].parent / "dataset.json"
    (two[0] / "dataset.json").write_text("{}")
    assert folders.dataset_json_of(*two) == two[0] / "dataset.json"


def test_a_missing_prediction_is_no_detail(two):
    (two[0] / "case_1.nii.gz").unlink()
    with pytest.raises(UserError, match=r"1 of 3 cases.*case_1"):
        pair_up(*two)


def test_a_prediction_without_truth_is_left_out_and_said(two):
    write(two[0] / "more.nii.gz", volume(5))
    pairs, warnings = pair_up(*two)
    assert [pair.case for pair in pairs] == ["case_0", "case_1", "case_2"]
    assert "more" in warnings[0]


def test_another_format_is_still_the_same_case(two):
    write(two[0] / "case_0.mha", volume(0))
    (two[0] / "case_0.nii.gz").unlink()
    assert evaluate(pair_up(*two)[0], Question({"one": (1,)}, ("dice",)), 1).cases["case_0"]["one"]["dice"] == 1


def test_two_files_of_one_case_are_refused(two):
    write(two[0] / "case_0.mha", volume(0))
    with pytest.raises(UserError, match="two files of case case_0"):
        pair_up(*two)


@pytest.mark.parametrize("which", [0, 1])
def test_a_folder_that_is_none_or_empty_is_told(two, tmp_path, which):
    (tmp_path / "empty").mkdir()
    for wrong, message in ((tmp_path / "no", "no such folder"), (tmp_path / "empty", "no segmentation")):
        both = list(two)
        both[which] = wrong
        with pytest.raises(UserError, match=message):
            pair_up(*both)


def test_all_broken_cases_are_named_at_once(two):
    (two[0] / "case_0.nii.gz").write_bytes(b"no volume")
    write(two[0] / "case_1.nii.gz", volume(1, (6, 9, 9)))
    write(two[0] / "case_2.nii.gz", volume(2), spacing=(1, 2, 4))
    with pytest.raises(UserError) as caught:
        evaluate(pair_up(*two)[0], Question({"one": (1,)}), 1)
    message = str(caught.value)
    assert "3 of 3 cases" in message
    assert "case_0.nii.gz cannot be read" in message
    assert "case_1: the prediction has 6×9×9 voxels, the truth 6×9×8" in message
    assert "case_2: the prediction's voxels are [4.0, 2.0, 1.0] mm" in message


def test_probabilities_are_no_segmentation(two):
    write(two[0] / "case_0.nii.gz", volume(0).astype(np.float32) / 4)
    with pytest.raises(UserError, match=r"no labels, such as 0\.\d+"):
        evaluate(pair_up(*two)[0], Question({"one": (1,)}), 1)


def test_whole_numbers_stored_as_floats_are_labels(two):
    write(two[0] / "case_0.nii.gz", volume(0).astype(np.float32))
    assert evaluate(pair_up(*two)[0], Question({"one": (1,)}, ("dice",)), 1).cases["case_0"]["one"]["dice"] == 1


def test_another_place_in_space_is_a_warning(two):
    write(two[0] / "case_0.nii.gz", volume(0), origin=(5.0, 0.0, 0.0))
    assert evaluate(pair_up(*two)[0], Question({"one": (1,)}, ("dice",)), 1).warnings == [
        "case_0: prediction and truth lie elsewhere in space (origin or direction); compared voxel by voxel"
    ]


def test_what_is_undefined_is_counted_and_not_averaged(two):
    write(two[0] / "case_0.nii.gz", 0 * volume(0))
    found = evaluate(pair_up(*two)[0], Question({"one": (1,)}, ("dice", "hd95")), 1)
    assert math.isnan(found.cases["case_0"]["one"]["hd95"]) and found.cases["case_0"]["one"]["dice"] == 0
    mean = folders.to_json(found)["mean"]["one"]["hd95"]
    assert mean["defined"] == 2 and mean["cases"] == 3
    others = [found.cases[case]["one"]["hd95"] for case in ("case_1", "case_2")]
    assert mean["mean"] == pytest.approx(np.mean(others))
    assert folders.to_json(found)["cases"]["case_0"]["one"]["hd95"] is None
    assert "(2 of 3)" in folders.table(found)
    assert folders.to_csv(found).splitlines()[:2] == ["case,structure,dice,hd95", "case_0,one,0.0,"]


def test_a_validation_fold_has_more_truth_than_predictions(two):
    (two[0] / "case_1.nii.gz").unlink()
    assert [pair.case for pair in folders.pair_predictions(*two)] == ["case_0", "case_2"]
    write(two[0] / "more.nii.gz", volume(5))
    with pytest.raises(UserError, match=r"1 of 3 predictions.*more"):
        folders.pair_predictions(*two)


def test_a_broken_folder_does_not_cost_the_others(two):
    pairs, question = pair_up(*two)[0], Question({"one": (1,)}, ("dice",))
    write(two[0].parent / "bad.nii.gz", volume(1, (6, 9, 9)))
    broken = [folders.Pair("case_0", two[0].parent / "bad.nii.gz", pairs[0].truth)]
    good, bad = folders.evaluate_all([(pairs, question), (broken, question)], 1)
    assert list(good.cases) == ["case_0", "case_1", "case_2"]
    assert isinstance(bad, UserError) and "case_0" in str(bad)
