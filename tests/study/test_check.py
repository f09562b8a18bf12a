"""All that can fail is told before anything is trained, and all of it at once."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.networks.catalogue import NETWORKS
from nnunet_fess.study import presets
from nnunet_fess.study.check import check, report
from nnunet_fess.study.config import load
from nnunet_fess.study.results import read_runs, write_run
from nnunet_fess.study.run import run_study


def test_a_study_that_can_run(played, capsys):
    assert report(played.file(training_sizes=["all", 3], seeds=[0, 1])) == 0
    shown = capsys.readouterr().out
    assert "Dataset999_Played: training sets of 9, 3 cases" in shown
    assert "GB of checkpoints and predictions" in shown
    assert "the file itself is right: 8 runs" in shown
    assert shown.endswith("study.yaml can run here\n")
    assert not (played.preprocessed / "splits_final.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": 998}, "line 1, dataset: dataset 998: one folder expected"),
        ({"dataset": [999, "Dataset999_Played"]}, "dataset: Dataset999_Played is Dataset999_Played, which is there already"),
        ({"plans": "nnUNetPlansOther"}, "plans: .*nnUNetPlansOther.json does not exist"),
        ({"configuration": "3d_lowres"}, "configuration: .*no configuration '3d_lowres'"),
        ({"folds": [5]}, "folds: --fold 5: Dataset999_Played has folds 0…4"),
        ({"training_sizes": [100]}, "training_sizes: --sizes 100: the training set has 9 cases"),
        ({"trainers": ["nnUNetTrainerNobodyHas"]}, "trainers.0: no trainer nnUNetTrainerNobodyHas"),
        ({"executor": {"kind": "local", "parallel": 4000}}, "executor.parallel: found 4000"),
        ({"test": {"images": "nowhere", "labels": "nowhere"}}, "test: .*nowhere does not exist"),
    ],
)
def test_what_would_fail(played, change, message):
    with pytest.raises(UserError, match=message):
        report(played.file(**change))


def test_a_loss_that_is_known_to_fail_alone_is_named(played):
    found = check(played.file(trainers=["DiceCE", "Boundary"]))
    assert found.mistakes == []
    assert any("Boundary alone is known not to converge" in line for line in found.warnings)


def test_independent_mistakes_are_told_together(played):
    found = check(played.file(trainers=["nnUNetTrainerNobodyHas"], folds=[7], executor={"kind": "local", "parallel": 4000}))
    assert len(found.mistakes) == 3


def test_every_fold_and_size_that_cannot_be_is_told(played):
    found = check(played.file(folds=[0, 7, 5], training_sizes=["all", 300, 3, 40]))
    assert [line.partition(" line 1, ")[2] for line in found.mistakes] == [
        "folds: --fold 7: Dataset999_Played has folds 0…4.",
        "folds: --fold 5: Dataset999_Played has folds 0…4.",
        "training_sizes: --sizes 300: the training set has 9 cases.",
        "training_sizes: --sizes 40: the training set has 9 cases.",
    ]


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed"])
def test_results_do_not_lie_among_the_data(played, variable, tmp_path):
    root = Path(os.environ[variable])
    (tmp_path / "link").symlink_to(root)
    for results in (root, root / "Dataset999_Played" / "mine", tmp_path / "link" / "mine"):
        (told,) = check(played.file(results=str(results))).mistakes
        assert "line 1, results: " in told and ("which holds data" in told or "but none of a study's" in told)


def test_results_below_a_file(played):
    (told,) = check(played.file(results="study.yaml/a/b")).mistakes
    assert "line 1, results: " in told and "study.yaml is a file" in told


def test_a_test_on_training_cases_is_warned_of(played):
    raw = Path(os.environ["nnUNet_raw"], "Dataset999_Played")
    for labels in (raw / "labelsTr").iterdir():
        (raw / "imagesTr" / labels.name.replace(".nii.gz", "_0000.nii.gz")).write_text("image")
    found = check(played.file(test={"images": str(raw / "imagesTr"), "labels": str(raw / "labelsTr")}))
    assert any("test cases have names of training cases" in line for line in found.warnings)


def test_patients_that_cannot_be_read_are_the_patients_mistake(played):
    (told,) = check(played.file(patients={"regex": "("}, training_sizes=["all", 3])).mistakes
    assert "line 1, patients: " in told


def test_a_gpu_that_is_not_there(played, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(UserError, match="device: found cuda, but torch finds no GPU here"):
        report(played.file(device="cuda"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UserError, match=r"executor\.gpus: found 1; this machine has GPUs 0…0"):
        report(played.file(device="cuda", executor={"kind": "local", "gpus": [0, 1]}))


def test_a_full_disk(played, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10}))
    with pytest.raises(UserError, match="Make room"):
        report(played.file())


def test_what_is_finished_needs_no_more_room(played, monkeypatch):
    run_study(played.file())
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("usage", (), {"free": 10}))
    assert report(played.file()) == 0


def test_images_without_labels(played):
    (played.raw / "labelsTs" / "test1.nii.gz").unlink()
    with pytest.raises(UserError, match="only: test1"):
        report(played.file(test="imagesTs"))


def test_patients_with_several_cases_stay_whole(played):
    for folder, ending in (("gt_segmentations", ".nii.gz"), ("nnUNetPlans_3d_fullres", ".pkl")):
        for number, path in enumerate(sorted((played.preprocessed / folder).iterdir())):
            path.rename(path.with_name(f"patient{number // 2:03d}_{'ED' if number % 2 else 'ES'}{ending}"))
    for number, path in enumerate(sorted((played.raw / "labelsTr").iterdir())):
        path.rename(path.with_name(f"patient{number // 2:03d}_{'ED' if number % 2 else 'ES'}.nii.gz"))
    with pytest.raises(UserError, match=r"patients: \{table: FILE\.csv\} or \{regex: …\}"):
        report(played.file(training_sizes=["all", 4]))
    file = played.file(training_sizes=["all", 4], patients={"regex": r"patient\d+"})
    assert report(file) == 0
    (data,) = check(file).data
    for number in data.fold_numbers().values():
        fold = data.splits.splits[number]
        assert not {case[:10] for case in fold["train"]} & {case[:10] for case in fold["val"]}


def test_a_cascade_is_refused(played):
    path = played.preprocessed / "nnUNetPlans.json"
    path.write_text(path.read_text().replace('"data_identifier"', '"previous_stage": "3d_lowres", "data_identifier"'))
    with pytest.raises(UserError, match="second stage of a cascade"):
        report(played.file())


def test_what_must_be_prepared_first(played, capsys):
    (played.preprocessed / "nnUNetPlans.json").unlink()
    assert report(played.file()) == 0
    assert "nnUNetv2_plan_and_preprocess -d 999 -c 3d_fullres" in capsys.readouterr().out


def test_what_the_plans_need_is_told_once_for_all_of_them(played, capsys):
    """Plans that `nnunet_fess plans` makes under its own name are made by the study."""
    names = ["nnUNetPlans", "nnUNetPlansVNet", "nnUNetPlansUNETRCPU", "nnUNetResEncUNetMPlansDeepLabV3"]
    assert report(played.file(plans=names)) == 0
    told = [line.partition("first: ")[2] for line in capsys.readouterr().out.splitlines() if "to be done first" in line]
    cores = told[2].partition("-npfp ")[2].partition(" ")[0]
    assert told == [
        "nnunet_fess plans 999 -p nnUNetPlans -c 3d_fullres --network vnet",
        "nnunet_fess plans 999 -p nnUNetPlans -c 3d_fullres --network unetr --cpu",
        "nnUNetv2_plan_and_preprocess -d 999 -c 3d_fullres --verify_dataset_integrity "
        f"-npfp {cores} -np {cores} -pl nnUNetPlannerResEncM",
        "nnunet_fess plans 999 -p nnUNetResEncUNetMPlans -c 3d_fullres --network deeplabv3",
    ]
    found = check(played.file(plans=names, folds=[7]))
    assert len(found.mistakes) == 1 and "folds" in found.mistakes[0]


def test_plans_that_differ_in_the_network_need_room_for_its_weights(played):
    """Of a network whose weights the plans do not list they are counted."""
    plans = json.loads((played.preprocessed / "nnUNetPlans.json").read_text())
    patch = {"patch_size": [32, 32, 32], "batch_size": 2}
    plans["configurations"]["3d_fullres"] |= patch
    plans["configurations"]["3d_fullres"]["architecture"] = NETWORKS["deeplabv3"].architecture([32, 32, 32])
    (played.preprocessed / "other.json").write_text(json.dumps(plans))
    (told,) = [line for line in check(played.file(plans="other")).fine if "GB of checkpoints" in line]
    assert float(told.split()[1]) == pytest.approx(2 * 90e6 * 16 / 1e9, rel=0.05)  # two runs of 90 M parameters, see the docs


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_passes_where_its_datasets_are(name, played, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    path = played.root / "study.yaml"
    path.write_text(presets.text(name), "utf-8")
    file = load(path)
    assert all(trainer.ours for trainer in file.trainers)
    for dataset in file.study.datasets:
        sizes = [size for size in file.study.sizes_of(dataset) if size != "all"]
        played.dataset(f"Dataset{dataset:03d}_Preset", max([12, *(2 * size for size in sizes)]), *file.study.all_plans)
    assert report(file) == 0
    assert "can run" in capsys.readouterr().out


def test_a_misspelt_trainer_of_nnunets_is_told_what_was_meant(played):
    found = check(played.file(trainers=["DiceCE", "nnUNetTrainerDiceCELoss_noSmoot"]))
    (mistake,) = [line for line in found.mistakes if "noSmoot " in line]
    assert mistake.count("Did you mean") == 1
    assert "nnUNetTrainerDiceCELoss_noSmooth" in mistake


def test_how_much_there_is_to_train_is_told_before_anything_has_run(played):
    found = check(played.file(options="10epochs_20iters", seeds=[0, 1]))
    (told,) = [line for line in found.fine if "training iterations" in line]
    assert told.startswith("4 runs to do, 800 training iterations in all")
    long = check(played.file(options=None))  # nnU-Net's 1000 epochs of 250
    (warning,) = [line for line in long.warnings if "training iterations" in line]
    assert "500,000" in warning
    assert "5 days" in warning


def test_how_long_it_takes_is_judged_by_what_is_finished(played):
    file = played.file(options="10epochs_20iters")
    run_study(file)
    for run in read_runs(file.results)[:1]:
        write_run(file.results, dataclasses.replace(run, steps=[dataclasses.replace(run.steps[0], seconds=600.0)]))
    other = read_runs(file.results)[1]
    write_run(file.results, dataclasses.replace(other, status="failed"))
    (told,) = [line for line in check(file).fine if "training iterations" in line]
    assert told == "1 runs to do, 200 training iterations in all: about 10 min, judged by those that are finished"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "is no table"), ({}, 'has no "data_identifier"'), ({"data_identifier": 5}, 'has no "data_identifier"')],
)
def test_plans_with_a_configuration_of_nothing_are_told(played, content, message):
    file = played.preprocessed / "nnUNetPlans.json"
    plans = json.loads(file.read_text())
    file.write_text(json.dumps({**plans, "configurations": {"3d_fullres": content}}))
    with pytest.raises(UserError, match=rf"nnUNetPlans\.json holds no plans of nnU-Net: configuration '3d_fullres' {message}"):
        report(played.file())
