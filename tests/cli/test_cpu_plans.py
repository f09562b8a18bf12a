from __future__ import annotations

import json

import pytest

from nnunet_fess.cli import cpu_plans
from nnunet_fess.cli.main import main
from nnunet_fess.errors import UserError
from nnunet_fess.testing.tiny_trainer import network_plans


@pytest.fixture
def plans(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    network = network_plans(3)
    network["arch_kwargs"].update(
        n_stages=6,
        features_per_stage=[32, 64, 128, 256, 320, 320],
        strides=[[1, 1, 1]] + [[2, 2, 2]] * 5,
        kernel_sizes=[[3, 3, 3]] * 6,
        n_conv_per_stage=[2] * 6,
        n_conv_per_stage_decoder=[2] * 5,
    )
    content = {
        "plans_name": "nnUNetPlans",
        "configurations": {
            "3d_fullres": {"data_identifier": "d", "batch_size": 5, "patch_size": [128, 128, 128], "architecture": network},
            "3d_cascade_fullres": {"inherits_from": "3d_fullres"},
        },
    }
    folder = tmp_path / "Dataset517_BraTS2017"
    folder.mkdir()
    (folder / "nnUNetPlans.json").write_text(json.dumps(content))
    return folder


def written(folder, *arguments):
    assert cpu_plans.main(["517", *arguments]) == 0
    return json.loads((folder / "nnUNetPlansCPU.json").read_text())


def test_keeps_the_depth_of_the_plan(plans):
    network = written(plans)["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert network["features_per_stage"] == [12, 24, 48, 96, 96, 96]
    assert network["n_conv_per_stage"] == [1, 2, 2, 2, 2, 2]
    assert network["n_conv_per_stage_decoder"] == [1, 1, 1, 1, 1]


def test_a_small_patch_drops_the_stages_that_no_longer_fit(plans):
    network = written(plans, "--patch-size", "32,32,32")["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert network["n_stages"] == len(network["strides"]) == len(network["kernel_sizes"]) == 4


def test_names_itself_and_shares_the_preprocessed_data(plans):
    small = written(plans)
    assert small["plans_name"] == "nnUNetPlansCPU"
    assert small["configurations"]["3d_fullres"]["data_identifier"] == "d"
    assert small["configurations"]["3d_fullres"]["batch_size"] == 2


def test_the_original_plans_stay(plans):
    before = (plans / "nnUNetPlans.json").read_text()
    written(plans)
    assert (plans / "nnUNetPlans.json").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["518"], "expected one folder Dataset518_"),
        (["517", "-p", "other"], "does not exist. Run  nnUNetv2_plan_and_preprocess"),
        (["517", "-o", "nnUNetPlans"], "would overwrite"),
        (["517", "-c", "2d"], "no configuration '2d' of their own; there are: 3d_fullres"),
        (["517", "-c", "3d_cascade_fullres"], "no configuration '3d_cascade_fullres' of their own"),
        (["517", "--patch-size", "32,32"], "has 2 axes, the configuration 3"),
        (["517", "--patch-size", "36,36,36"], "must be divisible"),
    ],
)
def test_errors(plans, capsys, arguments, message):
    assert main(["cpu-plans", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_an_unset_variable_is_named(monkeypatch):
    monkeypatch.delenv("nnUNet_preprocessed", raising=False)
    with pytest.raises(UserError, match="nnUNet_preprocessed is not set"):
        cpu_plans.main(["517"])
