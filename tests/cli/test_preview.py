from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from tiny_host import LABELS, network_plans

from nnunet_fess.cli.main import main
from nnunet_fess.cli.preview import _load, rim_shares, weight_map
from nnunet_fess.trainers.naming import parse


@pytest.fixture
def make_dataset(tmp_path, monkeypatch):
    """One preprocessed case, a cube of label 1 around a smaller cube of label 2; spacing 2 × 1 × 1 mm."""
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def make(labels: str = "plain", dim: int = 3):
        folder = tmp_path / "Dataset999_Tiny"
        data = folder / "nnUNetPlans_tiny"
        data.mkdir(parents=True)
        seg = np.full((1, 16, 16, 16), -1, dtype=np.int8)
        seg[0, 4:12, 4:12, 4:12] = 1
        seg[0, 6:10, 6:10, 6:10] = 2
        np.savez(data / "case.npz", data=np.random.default_rng(0).normal(size=(1, 16, 16, 16)).astype(np.float32), seg=seg)
        (data / "case.pkl").write_bytes(pickle.dumps({}))
        configuration = {
            "data_identifier": "nnUNetPlans_tiny",
            "patch_size": [16] * dim,
            "spacing": [2.0, 1.0, 1.0][-dim:],
            "architecture": network_plans(dim),
        }
        plans = {"dataset_name": folder.name, "plans_name": "nnUNetPlans", "label_manager": "LabelManager"}
        (folder / "nnUNetPlans.json").write_text(json.dumps({**plans, "configurations": {"tiny": configuration}}))
        dataset = {"channel_names": {"0": "MRI"}, "labels": LABELS[labels], "numTraining": 1, "file_ending": ".nii.gz"}
        if "regions" in labels:
            dataset["regions_class_order"] = [1, 2]
        (folder / "dataset.json").write_text(json.dumps(dataset))
        return folder

    return make


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("dim", [2, 3])
def test_draws_a_picture_for_every_kind_of_dataset(make_dataset, tmp_path, labels, dim, capsys):
    make_dataset(labels, dim)
    assert main(["preview", "999", "-c", "tiny", "-tr", "nnUNetTrainerCWCD_2mm", "-o", "picture.png"]) == 0
    assert (tmp_path / "picture.png").stat().st_size > 5_000
    assert "full resolution" in capsys.readouterr().out


def test_shows_the_weights_of_the_loss_at_full_resolution(make_dataset):
    case = _load(make_dataset(), "nnUNetPlans", "tiny", None)
    weights = weight_map(parse("nnUNetTrainerCWCD_contour3_2mm"), case, case.scales[0])
    # 2 mm are one voxel on the first axis and two on the others, on either side of the border.
    assert weights[8, 8].tolist() == [1, 1] + [4] * 12 + [1, 1]
    assert weights[:, 0, 0].unique().tolist() == [1]


def test_has_one_map_per_scale_of_deep_supervision(make_dataset):
    case = _load(make_dataset(), "nnUNetPlans", "tiny", None)
    assert [tuple(weight_map(parse("nnUNetTrainerCWCD"), case, scale).shape) for scale in case.scales] == [(16,) * 3, (8,) * 3]


# A cube of 8, of which the shell is label 1 and the middle 4 label 2: 2 mm are 1 voxel on the first axis and 2 on the others.
SHARES = {"plain": [1.0, 1.0], "regions": [1 - 6 * 4 * 4 / 8**3, 1.0]}


@pytest.mark.parametrize("labels", SHARES)
def test_says_how_much_of_each_structure_is_rim(make_dataset, labels):
    case = _load(make_dataset(labels), "nnUNetPlans", "tiny", None)
    found = rim_shares(parse("nnUNetTrainerCWCD_2mm"), case)
    assert list(found.values()) == pytest.approx(SHARES[labels])
    assert list(found) == case.structures


def test_a_structure_without_core_is_named(make_dataset, capsys):
    make_dataset("regions")
    assert main(["preview", "999", "-c", "tiny", "-tr", "nnUNetTrainerCWCD_2mm"]) == 0
    out = capsys.readouterr().out
    assert "whole: 81 % of it is rim at full resolution\n" in out
    assert "core: 100 % of it is rim at full resolution, no core is left" in out


def test_weights_without_a_contour_have_no_rim(make_dataset):
    case = _load(make_dataset(), "nnUNetPlans", "tiny", None)
    assert rim_shares(parse("nnUNetTrainerDWCE"), case) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["999", "other"], "has no case 'other'. There are 1: case"),
        (["999", "-c", "3d_fullres"], "has no configuration '3d_fullres'; there are: tiny"),
        (["999", "-p", "nnUNetResEncUNetMPlans"], "Run  nnUNetv2_plan_and_preprocess"),
        (["999", "-tr", "nnUNetTrainerDice"], "weighs all voxels alike"),
        (["999", "-tr", "nnUNetTrainerDiceCE"], "weighs all voxels alike"),
        (["999", "-tr", "nnUNetTrainerCWCD_6m"], "unknown option '6m'"),
        (["999", "-o", "missing/picture.png"], "cannot be written to"),
        (["998"], "expected one folder Dataset998_"),
    ],
)
def test_errors(make_dataset, capsys, arguments, message):
    make_dataset()
    with_configuration = arguments if "-c" in arguments else [*arguments, "-c", "tiny"]
    assert main(["preview", *with_configuration]) == 1
    assert message in capsys.readouterr().err
