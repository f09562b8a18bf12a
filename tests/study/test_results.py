"""Records survive a round trip; what is damaged is named."""

from __future__ import annotations

import json
import math
import re
import shutil

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.study.results import (
    Case,
    Run,
    Step,
    read_cases,
    read_patients,
    read_run,
    read_runs,
    readable_runs,
    write_cases,
    write_run,
    write_runs,
)


def _run(results, **changes):
    values = {
        "id": "a",
        "dataset": "Dataset001_A",
        "configuration": "2d",
        "plans": "p",
        "trainer": "Dice",
        "trainer_name": "nnUNetTrainerDice_seed0",
        "seed": 0,
        "fold": 1,
        "size": 8,
        "repeat": 0,
        "nnunet_fold": 5,
        "training_cases": 8,
        "model": results / "nnUNet_results" / "x",
        "predictions": results / "runs" / "a" / "p",
        "truth": results.parent / "t",
        "dataset_json": results.parent / "dataset.json",
    }
    return Run(**{**values, **changes})


def test_a_run_comes_back(tmp_path):
    steps = (Step("nnUNetv2_train 'a b'", "2026-01-01T00:00:00+00:00", 12.5, 0, 800.0), Step("x", "2026", 1.5))
    run = _run(tmp_path, steps=steps, status="failed", reason="ä, “b”\nc", made_of={"trainer": "x"})
    write_run(tmp_path, run)
    assert read_run(tmp_path, "a") == run
    assert (run.seconds, run.peak_memory_mb, run.exit) == (14.0, 800.0, None)


def test_the_folder_can_be_moved(tmp_path):
    (tmp_path / "old").mkdir()
    write_run(tmp_path / "old", _run(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    run = read_run(tmp_path / "new", "a")
    assert run.predictions == tmp_path / "new" / "runs" / "a" / "p"
    assert run.truth == tmp_path / "t"


def test_runs_in_the_files_order(tmp_path):
    runs = [_run(tmp_path, id=name, seed=None if name == "b" else 0, size="all") for name in ("c", "b")]
    for run in runs:
        write_run(tmp_path, run)
    write_runs(tmp_path, runs)
    assert read_runs(tmp_path) == runs


def test_a_damaged_record_is_named(tmp_path):
    write_run(tmp_path, _run(tmp_path))
    (tmp_path / "runs" / "a" / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        read_run(tmp_path, "a")
    assert read_run(tmp_path, "another") is None


def test_scores_come_back_to_the_last_bit(tmp_path):
    values = [{"dice": 1 / 3, "hd95": math.nan}, {"dice": 0.0, "hd95": 12.0}]
    runs = [_run(tmp_path), _run(tmp_path, seed=None)]
    cases = [Case.of(run, "ä,1", "whole tumor", value) for run, value in zip(runs, values, strict=True)]
    write_cases(tmp_path, cases, ["dice", "hd95"])
    header, first, *_ = (tmp_path / "cases.csv").read_text("utf-8").splitlines()
    assert header == "run,dataset,plans,trainer,seed,fold,size,repeat,case,structure,dice,hd95"
    assert first.endswith(",")
    back = list(read_cases(tmp_path))
    assert back[1] == cases[1]
    assert back[0].values["dice"] == 1 / 3
    assert math.isnan(back[0].values["hd95"])


def test_no_results_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="study run"):
        read_runs(tmp_path)
    with pytest.raises(UserError, match="study evaluate"):
        list(read_cases(tmp_path))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("seed", "x", "seed"),
        ("seed", 0.5, "seed"),
        ("fold", None, "fold"),
        ("size", [], "size"),
        ("repeat", {}, "repeat"),
        ("dataset", 3, "dataset"),
        ("status", "asleep", "status"),
        ("versions", "2.8", "versions"),
        ("steps", [{"command": "a", "started": "b", "seconds": "long"}], "steps.0.seconds"),
        ("steps", [{"command": "a", "started": "b", "peak_memory_mb": []}], "steps.0.peak_memory_mb"),
        ("steps", 3, "steps"),
        ("model", 3, "model"),
        ("id", None, "id"),
    ],
)
def test_a_record_with_a_value_of_another_kind_is_named(tmp_path, name, value, told):
    write_run(tmp_path, _run(tmp_path))
    path = tmp_path / "runs" / "a" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    with pytest.raises(UserError, match=rf"run\.json .*{re.escape(told)}.*Remove it"):
        read_run(tmp_path, "a")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe{", b"[" * 100_000, b'{"id": "a"}'])
def test_a_record_of_something_else_is_named(tmp_path, content):
    write_run(tmp_path, _run(tmp_path))
    (tmp_path / "runs" / "a" / "run.json").write_bytes(content)
    with pytest.raises(UserError, match=r"run\.json .*Remove it"):
        read_run(tmp_path, "a")


def test_one_damaged_record_is_told_beside_the_others(tmp_path):
    runs = [_run(tmp_path, id=name) for name in "abc"]
    for run in runs:
        write_run(tmp_path, run)
    write_runs(tmp_path, runs)
    (tmp_path / "runs" / "b" / "run.json").write_text("{")
    there, problems = readable_runs(tmp_path)
    assert [run.id for run in there] == ["a", "c"]
    assert len(problems) == 1 and str(tmp_path / "runs" / "b" / "run.json") in problems[0]


CASES = "run,dataset,plans,trainer,seed,fold,size,repeat,case,structure,dice\n"
ROW = "a,D,p,Dice,0,0,all,0,c,x,0.5\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (CASES + "a,D,p\n", "line 2: 3 cells, 11 expected"),
        (CASES + ROW + ROW.strip() + ",7\n", "line 3: 12 cells, 11 expected"),
        (CASES + ROW.replace("0.5", "good"), "line 2: could not convert"),
        (CASES + ROW.replace("Dice,0", "Dice,null"), "line 2: invalid literal"),
        (CASES + ROW.replace("0.5", "inf"), "line 2: inf is no score"),
        (CASES + 'a,"D', "unexpected end"),
        (CASES.replace(",", ";") + ROW.replace(",", ";"), "no column run"),
        ((CASES + ROW).encode("utf-16"), "no column run"),
        ("", "no column run"),
    ],
)
def test_a_table_that_was_changed_is_named(tmp_path, content, told):
    (tmp_path / "cases.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=rf"cases\.csv.*{told}.*study evaluate FILE"):
        list(read_cases(tmp_path))


def test_a_spreadsheets_mark_is_no_part_of_the_first_column(tmp_path):
    (tmp_path / "cases.csv").write_bytes(b"\xef\xbb\xbf" + (CASES + ROW).encode())
    assert [case.run for case in read_cases(tmp_path)] == ["a"]


def test_a_folder_in_the_place_of_a_table_is_named(tmp_path):
    (tmp_path / "cases.csv").mkdir()
    with pytest.raises(UserError, match=r"cases\.csv cannot be read: Is a directory"):
        list(read_cases(tmp_path))


@pytest.mark.parametrize(
    ("rows", "told"),
    [("a,\n", "line 2: a case and its patient"), (",p\n", "line 2"), ("a,p\nb,p\na,q\n", "line 4: a is of q, and of p above")],
)
def test_a_case_has_one_patient(tmp_path, rows, told):
    (tmp_path / "patients.csv").write_text("case,patient\n" + rows)
    with pytest.raises(UserError, match=rf"patients\.csv, {told}"):
        read_patients(tmp_path)


def test_a_renamed_run_is_called_as_its_folder_is(tmp_path):
    write_run(tmp_path, _run(tmp_path))
    (tmp_path / "runs" / "a").rename(tmp_path / "runs" / "b")
    found = read_run(tmp_path, "b")
    assert found is not None and found.id == "b"


def test_a_run_that_is_there_twice_counts_once(tmp_path):
    run = _run(tmp_path, status="finished")
    write_run(tmp_path, run)
    write_runs(tmp_path, [run, run])
    assert readable_runs(tmp_path) == ([run], [])
    shutil.copytree(tmp_path / "runs" / "a", tmp_path / "runs" / "b")
    write_runs(tmp_path, [run, _run(tmp_path, id="b", status="finished")])
    found, (problem,) = readable_runs(tmp_path)
    assert found == [run] and "says that it is the same run as a" in problem
