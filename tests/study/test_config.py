"""Every mistake of a file is told at once: line, key, what was found, what is allowed."""

from __future__ import annotations

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.study import config, metrics
from nnunet_fess.study.config import load

ISSUE = """\
name: hippocampus-losses            # results in ./hippocampus-losses/ beside this file, or `results:`
dataset: 504                        # number or name
configuration: 3d_fullres
plans: nnUNetPlansCPU
device: cpu
trainers: [DiceCE, Dice, FESSDiceCE, CWCD_adaptive, nnUNetTrainerDiceCELoss_noSmooth]
options: 12epochs_100iters_10valiters_bf16_noMirroring
baseline: DiceCE
seeds: [0, 1, 2]
folds: [0]
training_sizes: [all, 8, 3]
test: validation
metrics: [dice, iou, precision, sensitivity, specificity, hd95, assd, nsd]
executor: {kind: local, parallel: 1}
"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        (tmp_path / "study.yaml").write_text(text, "utf-8")
        return load(tmp_path / "study.yaml")

    return read


def _mistakes(read, text):
    with pytest.raises(UserError) as caught:
        read(text)
    return str(caught.value).splitlines()


def test_a_good_file(read, tmp_path):
    file = read(ISSUE)
    assert file.results == tmp_path / "hippocampus-losses"
    assert file.study.training_sizes == ["all", 8, 3]
    assert file.baseline.label == "DiceCE"
    assert [trainer.name(2) for trainer in file.trainers] == [
        "nnUNetTrainerDiceCE_12epochs_100iters_10valiters_seed2_bf16_noMirroring",
        "nnUNetTrainerDice_12epochs_100iters_10valiters_seed2_bf16_noMirroring",
        "nnUNetTrainerFESSDiceCE_12epochs_100iters_10valiters_seed2_bf16_noMirroring",
        "nnUNetTrainerCWCD_adaptive_12epochs_100iters_10valiters_seed2_bf16_noMirroring",
        "nnUNetTrainerDiceCELoss_noSmooth",
    ]


def test_what_may_be_left_out(read):
    file = read("name: a\ndataset: Dataset004_Hippocampus\ntrainers: [FESS, Dice]\n")
    study = file.study
    assert (study.seeds, study.folds, study.training_sizes, study.test) == ([0], [0], ["all"], "validation")
    assert len(study.metrics) == 8
    assert file.baseline.label == "FESS"


def test_all_mistakes_at_once_each_with_its_line(read):
    told = _mistakes(
        read,
        "name: a/b\ndatset: 504\ndevice: gpu\ntrainers:\n  - Dice\n  - FESSS_12epochs\n"
        "options: 12epochs\nseeds: [0, -2]\nfolds: 0\n"
        "training_sizes: [all, eight]\ntest: {image: foo}\nmetrics: [dicee]\nexecutor:\n  kind: local\n  parallel: 0\n",
    )
    assert told[0].endswith("13 mistakes")
    for expected in (
        "line 1, name: found 'a/b'; allowed: a name that a folder can have",
        "line 1, dataset: missing; needed: the number or name of a dataset",
        "line 2, datset: no such key (did you mean dataset?)",
        "line 3, device: found 'gpu'; allowed: cuda, cpu or mps",
        "line 6, trainers.1: found 'FESSS_12epochs'; allowed:",
        "line 8, seeds.1: found -2; allowed: a list of whole numbers",
        "line 9, folds: found 0; allowed: a list of nnU-Net's folds",
        "line 10, training_sizes.1: found 'eight'; allowed: a list of numbers",
        "line 11, test.image: no such key (did you mean images?); allowed: images, labels",
        "line 12, metrics.0: found 'dicee'; allowed: a list of dice, iou",
        "line 15, executor.parallel: found 0; allowed: a whole number",
    ):
        assert any(expected in line for line in told), (expected, told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trainers": "[DiceCE_5epochs]"}, "5epochs and 12epochs_100iters"),
        ({"trainers": "[DiceCE_seed3]"}, "write seeds in  seeds:"),
        ({"options": "12epochs_seed1"}, "write seeds in  seeds:"),
        ({"trainers": "[DiceCE, DiceCE]"}, "the same trainer as 'DiceCE'"),
        ({"trainers": "[DiceCE, nnUNetTrainerDiceCE]"}, "the same trainer as 'DiceCE'"),
        ({"options": "12epoch"}, "12epochs"),
        ({"baseline": "CWCD"}, "baseline: found 'CWCD'; allowed: one of the trainers, DiceCE"),
        ({"seeds": "[1, 1]"}, "seeds: found 1 twice"),
        ({"training_sizes": "[3, all, 3]"}, "training_sizes: found 3 twice"),
        ({"repeats": "2", "training_sizes": "[all]"}, "repeats: found 2"),
        ({"executor": "{kind: local, gpus: [0]}"}, "executor.gpus: found [0] with device cpu"),
        ({"executor": "{kind: pbs}"}, "executor.kind: found 'pbs'"),
        ({"dataset": "'504'\nfolds: [0]\nfolds: [1]"}, "folds"),
        ({"dataset": "[1, 2]", "test": "{images: a, labels: b}"}, "test: found folders for several datasets"),
        ({"nsd_tolerance_mm": "0"}, "a number of mm above 0"),
        ({"dataset": "[1, 2]", "patients": "{regex: x}"}, "patients: found with several datasets"),
        ({"patients": "{regx: x}"}, "patients"),
        ({"plans": "[nnUNetPlans, nnUNetPlans]"}, "plans: found nnUNetPlans twice"),
        ({"plans": "[nnUNetPlans, 5]"}, "plans.1: found 5; allowed: the name of plans such as nnUNetPlans, or a list of them"),
        ({"plans": "[nnUNetPlans, a/b]"}, "plans.1: found 'a/b' cannot be the name of plans"),
        ({"plans": "nnUNetPlans.json"}, "plans: found nnUNetPlans.json: the name of plans has no .json"),
        ({"plans": "[]"}, "plans: found []; allowed: the name of plans"),
        ({"seeds": "[yes]"}, "seeds.0: found 'yes'"),
    ],
)
def test_single_mistakes(read, change, message):
    keys = {"name": "a", "dataset": "504", "device": "cpu", "trainers": "[DiceCE]", "options": "12epochs_100iters", **change}
    if "5epochs" in message:
        message = "5epochs and 12epochs say the same thing"
    told = _mistakes(read, "".join(f"{key}: {value}\n" for key, value in keys.items()))
    assert message in "\n".join(told)
    assert "line" in told[0] + told[-1]


def test_options_come_in_canonical_order_wherever_they_are_written(read):
    file = read("name: a\ndataset: 1\ntrainers: [FESS_noDS_lambda0p8]\noptions: noMirroring_20epochs\n")
    assert file.trainers[0].name(7) == "nnUNetTrainerFESS_lambda0p8_20epochs_seed7_noDS_noMirroring"


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "name: [a\n", "name: a\n\tdataset: 1\n"])
def test_what_is_no_study_at_all(read, text):
    told = "\n".join(_mistakes(read, text))
    assert "study.yaml" in told


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match="study init"):
        load(tmp_path / "nothing.yaml")


def test_umlauts_and_a_folder_of_its_own(read, tmp_path):
    assert read("name: Prüfung äöü\ndataset: 1\ntrainers: [Dice]\n").results == tmp_path / "Prüfung äöü"
    assert str(read("name: a\nresults: /data/x\ndataset: 1\ntrainers: [Dice]\n").results) == "/data/x"


def test_training_sizes_of_some_datasets(read):
    study = read("name: a\ndataset: [1, 2]\ntrainers: [Dice]\ntraining_sizes: {2: [all, 5]}\n").study
    assert study.sizes_of(1) == ["all"]
    assert study.sizes_of(2) == ["all", 5]
    told = _mistakes(read, "name: a\ndataset: [1, 2]\ntrainers: [Dice]\ntraining_sizes:\n  3: [all]\n")
    assert "line 5, training_sizes.3: found 3; allowed: one of the datasets, 1, 2" in told[1]


def test_every_metric_that_can_be_measured_can_be_asked_for(tmp_path):
    assert config.METRICS == metrics.METRICS
    path = tmp_path / "study.yaml"
    path.write_text("name: a\ndataset: 1\ntrainers: [Dice]\nmetrics: [dice, lesion_recall, lesion_fp]\n")
    assert load(path).study.metrics == ["dice", "lesion_recall", "lesion_fp"]
    path.write_text("name: a\ndataset: 1\ntrainers: [Dice]\n")
    assert load(path).study.metrics == [*metrics.OVERLAP, *metrics.SURFACE]  # lesions on request


def test_a_key_that_stands_twice_is_one_mistake_among_others(read):
    told = _mistakes(
        read,
        "name: a\ndataset: 1\ntrainers: [Dice]\nname: b\nseeds: x\ntest:\n  images: a\n  labels: b\n  images: c\nseeds: y\n",
    )
    assert [line.strip().split(";")[0] for line in told[1:]] == [
        "line 4, name: found twice, before in line 1",
        "line 5, seeds: found 'x'",
        "line 9, test.images: found twice, before in line 7",
        "line 10, seeds: found twice, before in line 5",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("repeats: 10000000000000000000000000\ntraining_sizes: [8]", "line 4, repeats: found 1000"),
        ("nsd_tolerance_mm: .inf", "line 4, nsd_tolerance_mm: found inf"),
        ("executor: {gpus: [0, 1, 0]}", "line 4, executor.gpus: found 0 twice"),
        ('results: "a\\0b"', "line 4, results: found"),
        ("test: {images: ' ', labels: b}", "line 4, test.images: found"),
        ("training_sizes: {1: [all], '1': [2]}", "line 4, training_sizes.1: found twice"),
        ("folds: [0, 0, x]", "line 4, folds: found 0 twice"),  # although another item is wrong, too
        ("folds: [0]\nseeds:\n\t- 1", "Use spaces, not tabs"),
        ("results: a\x07b", "line 4: no YAML: a character that no text has, number 7"),
    ],
)
def test_what_no_study_can_be_made_of(read, change, message):
    told = _mistakes(read, f"name: a\ndataset: 1\ntrainers: [Dice]\n{change}\n")
    assert any(message in line for line in told), told


@pytest.mark.parametrize("name", ["a" * 200, "ä" * 100, "'a '", "a.", '"a\\nb"'])
def test_a_name_that_no_folder_has(read, name):
    assert "line 1, name: found" in _mistakes(read, f"name: {name}\ndataset: 1\ntrainers: [Dice]\n")[1]


def test_a_name_like_a_day_is_a_name(read):
    assert read("name: 2026-01-31\ndataset: 1\ntrainers: [Dice]\n").study.name == "2026-01-31"


def test_anchors_of_anchors_do_not_take_the_memory(read):
    """Nine lines that mean 9⁹ values."""
    lines = "\n".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    assert "more than 10000 values" in _mistakes(read, f"a: &a [{', '.join('x' * 9)}]\n{lines}\nname: a\n")[0]
