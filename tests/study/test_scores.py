"""A study's scores: every finished run is measured once, and again when something it depends on has changed."""

import csv
import dataclasses
import json
import shutil

import pytest
from study.made_up import make

from nnunet_fess.cli import main
from nnunet_fess.errors import UserError
from nnunet_fess.study import evaluate
from nnunet_fess.study.config import load
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
