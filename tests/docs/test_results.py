"""docs/results/: the pages' tables are those of the studies beside them, and these can be read."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import pytest

from nnunet_fess.errors import UserError
from nnunet_fess.study.config import load

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("results_make", RESULTS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_study_can_be_read_and_is_named_as_its_file(path):
    assert load(path).study.name == path.stem


def test_the_pages_are_what_the_script_makes(make):
    for path in make.pages():
        page = path.read_text("utf-8")
        assert make.page(page) == page
        assert page.count("<!-- table: ") == page.count("<!-- end -->") >= 1
    assert len(make.pages()) >= 3


def test_the_short_page_leads_to_every_other():
    short = (ROOT / "docs" / "results.md").read_text("utf-8")
    assert [path.name for path in RESULTS.glob("*.md") if f"(results/{path.name}" not in short] == []


def test_what_is_not_reported_yet_is_not_taken_and_nothing_is_changed(make, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "HERE", tmp_path)
    (tmp_path / "x.yaml").write_text("name: x\ndataset: 1\ntrainers: [Dice]\n")
    (tmp_path / "x.statistics.csv").write_text("earlier")
    with pytest.raises(UserError, match="study run FILE"):
        make.take("x")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "runs.csv").write_text("run\n")
    with pytest.raises(UserError, match=r"statistics\.csv does not exist.*study report"):
        make.take("x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.statistics.csv", "x.yaml"]
    assert (tmp_path / "x.statistics.csv").read_text() == "earlier"


COLUMNS = ("size", "trainer", "structure", "metric", "mean", "sd", "runs", "baseline", "difference", "in_words", "undefined")


def _statistics(folder, rows):
    with (folder / "x.statistics.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    made = {"machine": "M", "cores": 2, "commit": "0123456789", "versions": {"torch": "2"}}
    (folder / "x.made.json").write_text(json.dumps(made))


def test_a_table_of_one_size_has_the_structures(make, tmp_path):
    _statistics(
        tmp_path,
        [
            ("all", "Dice", "head", "dice", 0.8, 0.01, 3, "", "", "", 0),
            ("all", "Dice", "tail", "dice", 0.6, "", 1, "", "", "", 0),
            ("all", "Dice", "mean", "dice", 0.7, 0.02, 3, "", "", "", 0),
            ("all", "Dice", "head", "hd95", "", "", 0, "", "", "", 5),
            ("all", "CE", "head", "hd95", 2.0, 0.5, 3, "", "", "", 4),
            ("all", "Dice", "head", "iou", 0.5, 0.1, 3, "", "", "", 0),
            ("all", "CE", "mean", "dice", 0.65, 0.01, 3, "Dice", -0.05, "worse over cases", 0),
        ],
    )
    lines = make.block("x", tmp_path).splitlines()
    assert lines[0].startswith("| trainer | runs | head Dice | tail Dice | mean Dice | head HD95 |")
    assert lines[2].startswith("| `Dice` | 3 | 0.800 ± 0.010 | 0.600 (1 of 3) | 0.700 ± 0.020 | – |")
    assert "| 2.00 ± 0.50 [4 undefined] |" in lines[3] and lines[3].endswith("| -0.050, worse over cases |")
    assert "by commit 0123456 on 2 cores (M; torch 2)" in lines[-1]


def test_a_table_of_several_sizes_has_a_column_for_each(make, tmp_path):
    rows = [(size, "Dice", name, "dice", 0.8, 0.01, 3, "", "", "", 0) for size in ("all", 8) for name in ("a", "b", "mean")]
    _statistics(tmp_path, rows)
    lines = make.block("x", tmp_path).splitlines()
    assert lines[0] == "| trainer | all cases: mean Dice | 8 cases: mean Dice |"
    assert lines[2] == "| `Dice` | 0.800 ± 0.010 (3 runs) | 0.800 ± 0.010 (3 runs) |"


def test_a_table_of_several_sizes_says_of_each_how_it_compares(make, tmp_path):
    rows = []
    for size, dice, difference in ((6, 0.6, 0.1), (14, 0.4, -0.1)):
        words = "better over cases" if difference > 0 else "worse over cases"
        for name in ("a", "b", "mean"):
            rows.append((size, "CE", name, "dice", 0.5, 0.01, 3, "", "", "", 0))
            rows.append((size, "Dice", name, "dice", dice, 0.01, 3, "CE", difference, words, 0))
    _statistics(tmp_path, rows)
    lines = make.block("x", tmp_path).splitlines()
    assert lines[0].endswith("| 6 cases: mean Dice against the baseline | 14 cases: mean Dice against the baseline |")
    assert lines[2].endswith("|  |  |")
    assert lines[3].endswith("| +0.100, better over cases | -0.100, worse over cases |")


def test_runs_of_before_there_were_studies_are_said_to_be_that(make, tmp_path):
    runs = {
        "CE 0:0": {"dice": {"a": 0.5, "b": 0.0}, "hd95": {"a": 2.0, "b": 4.0}},
        "CE 1:0": {"dice": {"a": 0.7, "b": 0.2}, "hd95": {"a": 2.0, "b": None}},
    }
    content = {"machine": "M", "cores": 2, "commit": {"all": "abcdefghij"}, "runs": {"all": runs}}
    (tmp_path / "x.earlier.json").write_text(json.dumps(content))
    lines = make.block("x", tmp_path).splitlines()
    assert lines[2] == (
        "| `CE` | 2 | 0.600 ± 0.141 | 0.100 ± 0.141 | 0.350 ± 0.141 | 2.00 ± 0.00 | 4.00 (1 of 2) | 3.00 (1 of 2) |"
    )
    assert "Made before there were studies" in lines[-1]
    assert "abcdefg on" in lines[-1]
