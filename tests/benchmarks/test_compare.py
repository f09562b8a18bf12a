from __future__ import annotations

import importlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
PROTOCOL = ["--protocol", "seed{seed}", "--runs", "0:0", "1:0"]


@pytest.fixture
def compare(monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_results", str(tmp_path))
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("compare")


def cube(start: int, stop: int) -> np.ndarray:
    voxels = np.zeros((8, 8, 8), bool)
    voxels[start:stop, 2:6, 2:6] = True
    return voxels


def trained(root: Path, trainer: str, prediction: np.ndarray, dice: float, label: int | list[int] = 1) -> None:
    """What nnU-Net leaves of a validation with one case, whose truth is a cube of 1."""
    model = root / "Dataset007_Cube" / f"{trainer}__nnUNetPlans__3d_fullres"
    validation = model / "fold_0" / "validation"
    validation.mkdir(parents=True)
    (model / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "Cube": label, "ignore": 3}}))
    case: dict = {"metrics": {str(tuple(label) if isinstance(label, list) else label): {"Dice": dice}}}
    for role, voxels in (("reference", cube(2, 6)), ("prediction", prediction)):
        image = sitk.GetImageFromArray(voxels.astype(np.uint8))
        image.SetSpacing((1.0, 1.0, 2.0))  # x, y, z: the cube's first axis has the 2 mm
        case[f"{role}_file"] = str(validation / f"{role}.nii.gz")
        sitk.WriteImage(image, case[f"{role}_file"])
    (validation / "summary.json").write_text(json.dumps({"metric_per_case": [case]}))


def test_hd95_is_in_mm_of_the_right_axis(compare):
    assert compare.hd95(cube(2, 6), cube(2, 5), (2.0, 1.0, 1.0)) == 2
    assert compare.hd95(cube(2, 6), cube(2, 5), (1.0, 3.0, 3.0)) == 1


def test_hd95_of_nothing_is_not_defined(compare):
    assert math.isnan(compare.hd95(cube(2, 6), cube(0, 0), (1.0, 1.0, 1.0)))


def test_rows_are_means_and_standard_deviations_over_the_runs(compare, tmp_path, monkeypatch, capsys):
    for seed, (stop, dice) in enumerate([(6, 1.0), (5, 0.8)]):
        trained(tmp_path, f"nnUNetTrainerCE_seed{seed}", cube(2, stop), dice)
    monkeypatch.setattr("sys.argv", ["compare.py", "7", "CE", "Dice", *PROTOCOL, "--json", str(tmp_path / "out.json")])
    assert compare.main() == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "| `CE` | 2 | 0.900 ± 0.141 | 0.900 ± 0.141 | 1.00 ± 1.41 |"
    assert "not trained: nnUNetTrainerDice_seed1, fold 0" in err
    assert json.loads((tmp_path / "out.json").read_text())["runs"]["CE 1:0"]["hd95"] == {"cube": 2.0}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.5], "0.50"),
        ([0.5, 1.5], "1.00 ± 0.71"),
        ([0.5, math.nan, 1.5], "1.00 ± 0.71 (2 of 3)"),
        ([math.nan, 1.5], "1.50 (1 of 2)"),
        ([math.nan], "–"),
    ],
)
def test_runs_without_a_value_are_left_out_and_counted(compare, values, text):
    assert compare.spread(values, 2) == text


def test_a_missed_structure_is_counted(compare, tmp_path, monkeypatch, capsys):
    trained(tmp_path, "nnUNetTrainerCE_seed0", cube(0, 0), 0.0)
    monkeypatch.setattr("sys.argv", ["compare.py", "7", "CE", *PROTOCOL, "--json", str(tmp_path / "out.json")])
    assert compare.main() == 0
    out, err = capsys.readouterr()
    assert json.loads((tmp_path / "out.json").read_text())["runs"]["CE 0:0"]["hd95"] == {"cube": None}
    assert "| 0.000 | 0.000 | – |" in out
    assert "not defined for 1 structures" in err


def test_a_region_is_the_union_of_its_labels(compare, tmp_path, monkeypatch, capsys):
    trained(tmp_path, "nnUNetTrainerCE_seed0", 2 * cube(2, 6).astype(np.uint8), 1.0, label=[1, 2])
    monkeypatch.setattr("sys.argv", ["compare.py", "7", "CE", *PROTOCOL])
    assert compare.main() == 0
    assert "| `CE` | 1 | 1.000 | 1.000 | 0.00 |" in capsys.readouterr().out


def test_nothing_trained_is_an_error(compare, tmp_path, monkeypatch, capsys):
    (tmp_path / "Dataset007_Cube").mkdir()
    monkeypatch.setattr("sys.argv", ["compare.py", "7", "CE", *PROTOCOL])
    assert compare.main() == 1
    assert "none of these runs" in capsys.readouterr().err


def test_an_unknown_dataset_is_an_error(compare, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare.py", "8", "CE", *PROTOCOL])
    with pytest.raises(SystemExit, match="2"):
        compare.main()
    assert "no training of a dataset 8" in capsys.readouterr().err
