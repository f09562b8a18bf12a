"""What the user of `nnunet_fess evaluate` sees."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_fess.cli import main


@pytest.fixture
def two(tmp_path):
    for name in ("p", "t"):
        (tmp_path / name).mkdir()
        for case in ("a", "ä b"):
            labels = np.zeros((5, 6, 7), np.uint8)
            labels[1:4, 1:5, 1:5] = 1
            sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / name / f"{case}.nii.gz"))
    return str(tmp_path / "p"), str(tmp_path / "t")


def test_prints_means_and_writes_both_files(two, tmp_path, capsys):
    out, rows = tmp_path / "out.json", tmp_path / "out.csv"
    command = ["evaluate", *two, "--metrics", "Dice,hd95", "--json", str(out), "--csv", str(rows), "-np", "1"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "2 cases" in shown and "1.0000" in shown
    assert json.loads(out.read_text())["mean"]["1"]["dice"] == {"mean": 1.0, "defined": 2, "cases": 2}
    assert rows.read_text("utf-8").splitlines()[0] == "case,structure,dice,hd95"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--metrics", "dise"], "found dise, there are dice"),
        (["--metrics", ","], "found none"),
        (["--nsd-tolerance-mm", "nan"], "0 or more"),
        (["-np", "0"], "1 or more"),
        (["--json", "/nowhere/at/all.json"], "does not exist"),
        (["--labels", "no.json"], "no.json does not exist"),
    ],
)
def test_a_mistake_is_one_line(two, capsys, more, message):
    assert main(["evaluate", *two, *more]) == 1
    shown = capsys.readouterr().err
    assert message in shown and len(shown.strip().splitlines()) == 1
