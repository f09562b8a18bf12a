"""A study's scores: every finished run is measured once, and again when something it depends on has changed."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from study.made_up import make

from nnunet_fess.cli import main
from nnunet_fess.errors import UserError
from nnunet_fess.study import evaluate
from nnunet_fess.study.config import load
from nnunet_fess.study.data import digest
from nnunet_fess.study.lock import LOCK
from nnunet_fess.study.results import write_patients, write_run, write_runs
from nnunet_fess.study.scores import evaluate_study, patients_of, report_study

FILE = """
name: study
dataset: 999
trainers: [DiceCE, CWCD_adaptive]
metrics: [dice, hd95]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "study.yaml").write_text(FILE)
    runs, _ = make(folder / "study", ("DiceCE", "CWCD_adaptive"), seeds=(0,), sizes=("all",), cases=3)
    labels = {"background": 0, "edema": 1, "core": 2}
    (folder / "nnUNet_raw" / "Dataset999_Made" / "dataset.json").write_text(json.dumps({"labels": labels}))
    for run in runs:
        write_run(folder / "study", run)
    write_runs(folder / "study", runs)
    return folder


@pytest.fixture
def study(made, tmp_path):
    """A copy to change; the runs' records name the raw dataset by its absolute path, which stays."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    return load(tmp_path / "copy" / "study.yaml")


@pytest.fixture
def measured(monkeypatch):
    """Which cases are measured, in this process so that they can be seen."""
    seen = []
    real = evaluate.evaluate_all

    def counting(jobs, workers, title="evaluate"):
        seen.extend(pair.prediction.parent.parent.name + "/" + pair.case for pairs, _ in jobs for pair in pairs)
        return real(jobs, 1, title)

    monkeypatch.setattr("nnunet_fess.study.scores.evaluate.evaluate_all", counting)
    return seen


def rows(study):
    return list(csv.DictReader((study.results / "cases.csv").read_text("utf-8").splitlines()))


def test_writes_a_row_per_case_and_structure(study, measured):
    assert evaluate_study(study) == []
    assert len(rows(study)) == 2 * 3 * 2
    assert {row["structure"] for row in rows(study)} == {"edema", "core"}
    assert all(0 < float(row["dice"]) <= 1 for row in rows(study))


def test_nothing_is_measured_twice(study, measured):
    evaluate_study(study)
    before = (study.results / "cases.csv").read_bytes()
    measured.clear()
    evaluate_study(study)
    assert measured == [] and (study.results / "cases.csv").read_bytes() == before


def test_another_prediction_is_measured_anew(study, measured):
    evaluate_study(study)
    measured.clear()
    folder = study.results / "runs" / "DiceCE-seed0-fold0-all" / "predictions"
    shutil.copy(folder / "case_ö1.nii.gz", folder / "case_ö0.nii.gz")
    evaluate_study(study)
    assert set(measured) == {f"DiceCE-seed0-fold0-all/case_ö{number}" for number in range(3)}


def test_another_metric_is_measured_anew(study, measured):
    evaluate_study(study)
    measured.clear()
    other = dataclasses.replace(study, study=study.study.model_copy(update={"metrics": ["iou"]}))
    evaluate_study(other)
    assert len(measured) == 6
    assert "iou" in rows(study)[0] and "dice" not in rows(study)[0]


@pytest.mark.parametrize("content", [b"", b"[]", b'{"made_of": 3}'])
def test_damaged_scores_are_measured_anew(study, measured, content):
    evaluate_study(study)
    before = (study.results / "cases.csv").read_bytes()
    (study.results / "runs" / "DiceCE-seed0-fold0-all" / "scores.json").write_bytes(content)
    assert evaluate_study(study) == []
    assert (study.results / "cases.csv").read_bytes() == before


def test_a_run_that_cannot_be_measured_is_said_and_costs_no_other(study, measured):
    broken = study.results / "runs" / "DiceCE-seed0-fold0-all" / "predictions" / "case_ö0.nii.gz"
    broken.write_bytes(b"nothing")
    (problem,) = evaluate_study(study)
    assert problem.startswith("DiceCE-seed0-fold0-all: ") and str(broken) in problem
    assert {row["trainer"] for row in rows(study)} == {"CWCD_adaptive"}


def test_without_a_finished_run_there_is_nothing_to_measure(study):
    write_runs(study.results, [])
    with pytest.raises(UserError, match=r"no run of .* is finished"):
        evaluate_study(study)


def test_the_report_holds_the_studys_file(study, measured):
    page, problems = report_study(study)
    assert problems == [] and FILE.strip() in page.read_text("utf-8")


def test_the_command_line_writes_the_report_and_says_where(made, tmp_path, capsys):
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    assert main(["study", "report", str(tmp_path / "copy" / "study.yaml")]) == 0
    assert str(tmp_path / "copy" / "study" / "report.html") in capsys.readouterr().out


def test_whose_the_cases_are_says_the_file_and_else_the_converter(tmp_path):
    path = tmp_path / "study.yaml"
    text = "name: a\ndataset: 1\ntrainers: [Dice]\n"
    cases = ["p1_a", "p1_b", "p2_a"]
    path.write_text(text)
    assert patients_of(load(path), cases) == {}
    (tmp_path / "a").mkdir()
    write_patients(tmp_path / "a", {"p1_a": "x", "p1_b": "x"})
    assert patients_of(load(path), cases) == {"p1_a": "x", "p1_b": "x"}
    path.write_text(text + "patients: {regex: 'p\\d+'}\n")
    assert patients_of(load(path), cases) == {"p1_a": "p1", "p1_b": "p1", "p2_a": "p2"}
    (tmp_path / "who.csv").write_text("case,patient\np1_a,x\np1_b,x\n")
    path.write_text(text + "patients: {table: who.csv}\n")
    with pytest.raises(UserError, match=r"line 4, patients: .*who\.csv does not say whose p2_a is"):
        patients_of(load(path), cases)


def run_json(study, name, **changes):
    path = study.results / "runs" / name / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_run_that_lacks_a_prediction_is_left_out(study, measured):
    """The mean over fewer cases would flatter it; the other runs tell which cases there are."""
    lacking = study.results / "runs" / "DiceCE-seed0-fold0-all" / "predictions" / "case_ö1.nii.gz"
    lacking.unlink()
    (problem,) = evaluate_study(study)
    assert problem.startswith("DiceCE-seed0-fold0-all: 1 of 3 cases have no prediction") and "case_ö1" in problem
    assert {row["trainer"] for row in rows(study)} == {"CWCD_adaptive"}


def test_of_a_test_folder_every_case_must_be_predicted(study, measured, tmp_path):
    dataset = tmp_path / "dataset.json"
    dataset.write_text(json.dumps({"labels": {"background": 0, "edema": 1, "core": 2}, "file_ending": ".nii.gz"}))
    for name in ("DiceCE-seed0-fold0-all", "CWCD_adaptive-seed0-fold0-all"):
        run_json(study, name, tested_on={"test": "imagesTs"}, dataset_json=str(dataset))
        (study.results / "runs" / name / "predictions" / "case_ö1.nii.gz").unlink()
    with pytest.raises(UserError, match=r"no run could be measured:\n.*1 of 3 cases have no prediction[^$]*1 of 3 cases"):
        report_study(study)


def test_of_a_validation_fold_every_case_must_be_predicted(study, measured, tmp_path):
    """nnU-Net's splits tell which, as long as they are those that the run was made of."""
    truth = study.results.parent / "preprocessed" / "gt_segmentations"
    raw = Path(json.loads((study.results / "runs" / "DiceCE-seed0-fold0-all" / "run.json").read_text())["truth"])
    shutil.copytree(raw, truth)
    cases = sorted(path.name.removesuffix(".nii.gz") for path in truth.iterdir())
    (truth.parent / "splits_final.json").write_text(json.dumps([{"train": [], "val": cases}]))
    for name in ("DiceCE-seed0-fold0-all", "CWCD_adaptive-seed0-fold0-all"):
        run_json(study, name, truth=str(truth), made_of={"validation cases": digest(cases)})
        (study.results / "runs" / name / "predictions" / f"{cases[1]}.nii.gz").unlink()
    problems = evaluate_study(study)
    assert [f"1 of 3 cases have no prediction in {study.results}" in problem for problem in problems] == [True, True]
    (truth.parent / "splits_final.json").write_text(json.dumps([{"train": [], "val": cases[:1]}]))  # another split by now
    assert evaluate_study(study) == []


def test_a_damaged_record_costs_no_other_run(study, measured):
    record = study.results / "runs" / "DiceCE-seed0-fold0-all" / "run.json"
    record.write_text("{")
    page, (problem,) = report_study(study)
    assert str(record) in problem
    assert page.is_file() and {row["trainer"] for row in rows(study)} == {"CWCD_adaptive"}


def test_a_folder_that_cannot_be_listed_costs_no_other_run(study, measured, monkeypatch):
    real = Path.iterdir

    def listing(path):
        if path.parent.name == "DiceCE-seed0-fold0-all":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", listing)
    (problem,) = evaluate_study(study)
    assert "cannot be read: Permission denied" in problem
    assert {row["trainer"] for row in rows(study)} == {"CWCD_adaptive"}


def test_a_report_of_nothing_says_why(study, measured):
    for folder in (study.results / "runs").iterdir():
        shutil.rmtree(folder / "predictions", ignore_errors=True)
    with pytest.raises(UserError, match=r"no run could be measured:\n.*no such folder"):
        report_study(study)


def test_a_lock_in_another_encoding_is_shown_as_it_can_be(study, measured):
    (study.results / LOCK).write_bytes(b"name: \xff\n")
    page, problems = report_study(study)
    assert problems == [] and "name: \ufffd" in page.read_text("utf-8")


def test_a_structure_may_be_called_as_the_mean_is(study, measured):
    path = Path(json.loads((study.results / "runs" / "DiceCE-seed0-fold0-all" / "run.json").read_text())["dataset_json"])
    before = path.read_text()
    path.write_text(json.dumps({"labels": {"background": 0, "mean": 1, "core": 2}}))
    try:
        evaluate_study(study)
    finally:
        path.write_text(before)
    assert {row["structure"] for row in rows(study)} == {"mean (structure)", "core"}


@pytest.mark.parametrize("value", ['"much"', "[]", '{"a": 1}', "true", "1e999", "9" * 400])
def test_scores_of_another_kind_are_measured_anew(study, measured, value):
    evaluate_study(study)
    before = (study.results / "cases.csv").read_bytes()
    path = study.results / "runs" / "DiceCE-seed0-fold0-all" / "scores.json"
    content = json.loads(path.read_text())
    content["cases"]["case_ö0"]["core"]["dice"] = json.loads(value)
    path.write_text(json.dumps(content))
    assert evaluate_study(study) == []
    assert (study.results / "cases.csv").read_bytes() == before


def test_patients_of_other_cases_are_no_patients(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("name: a\ndataset: 1\ntrainers: [Dice]\n")
    (tmp_path / "a").mkdir()
    write_patients(tmp_path / "a", {"x": "1"})
    with pytest.raises(UserError, match=r"patients\.csv knows none of the cases, such as p1; it has x"):
        patients_of(load(path), ["p1", "p2"])


def test_what_else_lies_in_a_test_folder_is_no_case(study, measured, tmp_path):
    """`study run` predicts what has the dataset's ending."""
    truth = tmp_path / "labels"
    first = json.loads((study.results / "runs" / "DiceCE-seed0-fold0-all" / "run.json").read_text())
    shutil.copytree(first["truth"], truth)
    (truth / "overview.png").touch()
    dataset = tmp_path / "dataset.json"
    dataset.write_text(json.dumps({"labels": {"background": 0, "edema": 1, "core": 2}, "file_ending": ".nii.gz"}))
    for name in ("DiceCE-seed0-fold0-all", "CWCD_adaptive-seed0-fold0-all"):
        run_json(study, name, tested_on={"test": "x"}, truth=str(truth), dataset_json=str(dataset))
    assert evaluate_study(study) == []


def test_runs_of_another_test_are_asked_for_its_cases(study, measured, tmp_path):
    """The first was tested on a folder that had a case more."""
    path = study.results / "runs" / "DiceCE-seed0-fold0-all" / "run.json"
    truth = tmp_path / "labels"
    shutil.copytree(json.loads(path.read_text())["truth"], truth)
    name = "CWCD_adaptive-seed0-fold0-all"
    (truth / "case_ö1.nii.gz").unlink()
    (study.results / "runs" / name / "predictions" / "case_ö1.nii.gz").unlink()
    run_json(study, name, truth=str(truth))
    assert evaluate_study(study) == []
