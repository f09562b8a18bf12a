from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from nnunet_fess import preview
from nnunet_fess.cli.main import main
from nnunet_fess.losses import SpatialLoss
from nnunet_fess.preview import draw, load, loss_maps, picture_file, rim_shares
from nnunet_fess.testing.tiny_trainer import LABELS, network_plans
from nnunet_fess.trainers.catalogue import MAP
from nnunet_fess.trainers.naming import parse


@pytest.fixture
def make_dataset(tmp_path, monkeypatch):
    """One preprocessed case, a cube of label 1 around a smaller cube of label 2; spacing 2 × 1 × 1 mm."""
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def make(labels: str = "plain", dim: int = 3, properties: dict | None = None):
        folder = tmp_path / "Dataset999_Tiny"
        data = folder / "nnUNetPlans_tiny"
        data.mkdir(parents=True)
        seg = np.full((1, 16, 16, 16), -1, dtype=np.int8)
        seg[0, 4:12, 4:12, 4:12] = 1
        seg[0, 6:10, 6:10, 6:10] = 2
        np.savez(data / "case.npz", data=np.random.default_rng(0).normal(size=(1, 16, 16, 16)).astype(np.float32), seg=seg)
        (data / "case.pkl").write_bytes(pickle.dumps(properties or {}))
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

    make.data = tmp_path / "Dataset999_Tiny" / "nnUNetPlans_tiny"
    return make


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("dim", [2, 3])
def test_draws_a_picture_for_every_kind_of_dataset(make_dataset, tmp_path, labels, dim, capsys):
    make_dataset(labels, dim)
    assert main(["preview", "999", "-c", "tiny", "-tr", "nnUNetTrainerCWCD_2mm", "-o", "picture.png"]) == 0
    assert (tmp_path / "picture.png").stat().st_size > 5_000
    assert "full resolution" in capsys.readouterr().out


def test_shows_the_weights_of_the_loss_at_full_resolution(make_dataset):
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    weights = loss_maps(parse("nnUNetTrainerCWCD_contour3_2mm"), case, case.scales[0])["weight"]
    # 2 mm are one voxel on the first axis and two on the others, on either side of the border.
    assert weights[8, 8].tolist() == [1, 1] + [4] * 12 + [1, 1]
    assert weights[:, 0, 0].unique().tolist() == [1]


def test_has_one_map_per_scale_of_deep_supervision(make_dataset):
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    maps = [loss_maps(parse("nnUNetTrainerCWCD"), case, scale) for scale in case.scales]
    assert [tuple(drawn["weight"].shape) for drawn in maps] == [(16,) * 3, (8,) * 3]


# A cube of 8, of which the shell is label 1 and the middle 4 label 2: 2 mm are 1 voxel on the first axis and 2 on the others.
SHARES = {"plain": [1.0, 1.0], "regions": [1 - 6 * 4 * 4 / 8**3, 1.0]}


@pytest.mark.parametrize("labels", SHARES)
def test_says_how_much_of_each_structure_is_rim(make_dataset, labels):
    case = load(make_dataset(labels), "nnUNetPlans", "tiny", None)
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
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
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
        (["999", "-o", "picture.txt"], "no picture is called *.txt. Use one of: "),
        (["999", "--channel", "CT"], "has no channel 'CT'. There are: 0 MRI"),
        (["998"], "expected one folder Dataset998_"),
    ],
)
def test_errors(make_dataset, capsys, arguments, message):
    make_dataset()
    with_configuration = arguments if "-c" in arguments else [*arguments, "-c", "tiny"]
    assert main(["preview", *with_configuration]) == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def texts(monkeypatch):
    """What stands in the picture that is drawn next."""
    found = []
    save = Figure.savefig

    def listen(figure, *arguments, **options):
        found.extend(text.get_text() for text in figure.findobj(Text))
        return save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", listen)
    return found


def test_planes_channel_slices_and_structures_are_named(make_dataset, texts):
    direction = (1, 0, 0, 0, 1, 0, 0, 0, 1)
    make_dataset(properties={"sitk_stuff": {"direction": direction}, "spacing": [2.0, 1.0, 1.0]})
    assert main(["preview", "999", "-c", "tiny"]) == 0
    shown = "\n".join(texts)
    for expected in ("axial, slice", "coronal, slice", "sagittal, slice", "channel MRI", "two (smallest)", "2 × 1 × 1 mm"):
        assert expected in shown
    assert {"R", "L", "A", "P", "S", "I"} <= set(texts)


def test_without_geometry_no_side_is_claimed(make_dataset, texts):
    make_dataset()
    assert main(["preview", "999", "-c", "tiny"]) == 0
    assert "states no orientation" in "\n".join(texts)
    assert not {"R", "L"} & set(texts)


def test_weights_have_a_colour_bar(make_dataset, texts):
    make_dataset()
    assert main(["preview", "999", "-c", "tiny"]) == 0
    assert "weight" in texts  # its label


@pytest.mark.parametrize("trainer", ["CWCD", "SDL"])
def test_where_all_is_rim_every_number_says_so(make_dataset, capsys, trainer):
    make_dataset()
    data = make_dataset.data
    seg = np.indices((16, 16, 16)).sum(0)[None] % 3  # no voxel is without neighbours of another class
    np.savez(data / "case.npz", data=np.zeros((1, 16, 16, 16), np.float32), seg=seg.astype(np.int8))
    assert main(["preview", "999", "-c", "tiny", "-tr", f"nnUNetTrainer{trainer}_2mm"]) == 0
    out = capsys.readouterr().out
    assert {"CWCD": "weight is 3 everywhere", "SDL": "contour holds 100.0 % of the voxels"}[trainer] in out
    assert "one: 100 % of it is rim at full resolution, no core is left" in out


def test_a_structure_that_no_plane_shows_is_named_and_the_smallest_is_never_one(make_dataset, tmp_path):
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    target = torch.zeros_like(case.target)
    places = [(1, 14, 2), (4, 10, 6), (6, 6, 9), (9, 3, 12), (14, 1, 14)]  # on no plane together
    for number, (z, y, x) in enumerate(places, start=1):
        target[0, 0, z, y, x : x + (1 if number == 3 else 2)] = number
    names = [f"structure {number}" for number in range(1, 6)]
    case = dataclasses.replace(case, target=target, structures=names, channels=6)
    maps = [loss_maps(parse("nnUNetTrainerSDL_2mm"), case, case.scales[0])]
    hidden = draw(case, maps, "title", tmp_path / "picture.png")
    assert len(hidden) == 2
    assert "structure 3" not in hidden


def test_an_absent_structure_is_told(make_dataset, texts, tmp_path):
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    case = dataclasses.replace(case, target=case.target.clamp(max=1))
    draw(case, [loss_maps(parse("nnUNetTrainerSDL_2mm"), case, case.scales[0])], "title", tmp_path / "picture.png")
    assert "two (not in this case)" in texts


def test_a_foreign_loss_need_only_have_maps(make_dataset, monkeypatch, tmp_path):
    class Foreign(torch.nn.Module):
        def maps(self, target):
            signed = torch.linspace(-1, 1, target.classes.numel()).view_as(target.classes)
            return {"distance": signed, "own": torch.arange(3.0).view(1, 3, 1, 1, 1) * torch.ones_like(signed)}

    monkeypatch.setattr(preview, "spatial_loss", lambda trainer, host: Foreign())
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    maps = loss_maps(parse("nnUNetTrainerCE"), case, case.scales[0])
    assert list(maps) == ["distance", "own"]
    assert torch.equal(maps["own"].long(), case.target[0, 0].long())  # of every voxel the value of its own class
    draw(case, [maps], "title", tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5_000


def test_every_region_has_a_map_of_its_own(make_dataset):
    case = load(make_dataset("regions"), "nnUNetPlans", "tiny", None)
    maps = loss_maps(parse("nnUNetTrainerGSL"), case, case.scales[0])
    assert list(maps) == [f"distance, {region}" for region in case.structures] and len(maps) == 2
    for region, drawn in maps.items():
        inside = torch.from_numpy(case.masks[region.removeprefix("distance, ")])
        assert (drawn[inside] < 0).all() and (drawn[~inside] > 0).all()


@pytest.mark.parametrize("map_", ["RRW", "Boundary", "ActiveContour"])
def test_a_signed_map_of_labels_is_drawn_of_each_structure_inside_and_outside(make_dataset, map_):
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    maps = loss_maps(parse(f"nnUNetTrainer{map_}DiceCE_gradual"), case, case.scales[0])
    assert [name.split(", ")[1] for name in maps] == case.structures and len(maps) == 2
    for name, drawn in maps.items():
        inside = torch.from_numpy(case.masks[name.split(", ")[1]])
        assert (drawn[inside] < 0).all() and (drawn[~inside] > 0).all()


@pytest.mark.parametrize("map_", sorted(MAP))
def test_every_map_can_be_drawn_or_says_that_there_is_none(make_dataset, map_, capsys):
    make_dataset()
    flat = map_ in ("HausdorffER", "HausdorffCV")
    assert main(["preview", "999", "-c", "tiny", "-tr", f"nnUNetTrainer{map_}", "-o", "picture.png"]) == flat
    assert Path("picture.png").exists() != flat


def test_structures_are_chosen_by_name(make_dataset, capsys):
    folder = make_dataset()
    case = load(folder, "nnUNetPlans", "tiny", None)
    name, other = case.structures
    command = ["preview", "999", "-c", "tiny", "-tr", "nnUNetTrainerRRW", "-o", "picture.png", "--structure"]
    assert main([*command, name]) == 0
    assert f"no map is drawn of: {other} (--structure NAME)" in capsys.readouterr().out
    assert main([*command, name.upper()]) == 1
    assert f"Did you mean {name}?" in capsys.readouterr().err


def test_of_many_structures_the_largest_are_drawn(make_dataset):
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    target, names = torch.zeros_like(case.target), [f"s{number}" for number in range(1, 7)]
    for number in range(1, 7):
        target[..., number, :number] = number
    case = dataclasses.replace(case, target=target, structures=names, channels=7)
    assert preview.chosen_structures(case) == ["s3", "s4", "s5", "s6"]


@pytest.mark.parametrize("labels", ["plain", "regions"])
def test_cells_of_components_are_drawn(make_dataset, tmp_path, labels):
    case = load(make_dataset(labels), "nnUNetPlans", "tiny", None)
    maps = [loss_maps(parse("nnUNetTrainerCCDice"), case, scale) for scale in case.scales]
    assert list(maps[0]) == [f"cells, {structure}" for structure in case.structures] and len(maps[0]) == 2
    assert draw(case, maps, "title", tmp_path / "picture.png") == []


def test_maps_of_every_part_of_a_blend_are_found(make_dataset, monkeypatch):
    class Part(SpatialLoss):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def maps(self, target):
            return {"weight": torch.full(target.classes.shape, self.value)}

    monkeypatch.setattr(preview, "spatial_loss", lambda trainer, host: torch.nn.ModuleList([Part(1.0), Part(2.0)]))
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    assert list(loss_maps(parse("nnUNetTrainerCE"), case, case.scales[0])) == ["weight", "weight of Part"]


def test_a_photograph_has_one_plane_and_no_sides(make_dataset, texts):
    """As nnU-Net's reader of PNG files leaves it: one slice, 999 apart from nothing."""
    make_dataset("plain", 2, {"spacing": (999, 1, 1)})
    seg = np.zeros((1, 1, 16, 16), np.int8)
    seg[0, 0, 4:9, 4:9] = 1
    np.savez(make_dataset.data / "case.npz", data=np.zeros(seg.shape, np.float32), seg=seg)
    assert main(["preview", "999", "-c", "tiny"]) == 0
    assert sum("slice" in text for text in texts) == 1
    assert "axial" not in "".join(texts)


def test_a_sum_that_draws_for_its_parts_is_not_asked_twice(make_dataset, monkeypatch):
    class Part(torch.nn.Module):
        def maps(self, target):
            return {"distance": torch.zeros(target.classes.shape)}

    class Sum(torch.nn.Sequential):
        def maps(self, target):
            return {f"{number} {name}": drawn for number, part in enumerate(self) for name, drawn in part.maps(target).items()}

    monkeypatch.setattr(preview, "spatial_loss", lambda trainer, host: Sum(Part(), Part()))
    case = load(make_dataset(), "nnUNetPlans", "tiny", None)
    assert list(loss_maps(parse("nnUNetTrainerCE"), case, case.scales[0])) == ["0 distance", "1 distance"]


@pytest.mark.parametrize(
    ("given", "file"),
    [(None, "d.png"), ("x", "x.png"), ("x.PDF", "x.PDF"), ("x_0.5", "x_0.5.png"), (".", "d.png")],
)
def test_where_the_picture_goes(tmp_path, monkeypatch, given, file):
    monkeypatch.chdir(tmp_path)
    assert picture_file(given and Path(given), "d.png") == Path(file)


def test_a_file_in_the_pictures_place_stays_whole_when_drawing_fails(make_dataset, tmp_path, monkeypatch):
    make_dataset()
    (tmp_path / "x.png").write_text("before")
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert main(["preview", "999", "-c", "tiny", "-o", "x.png"]) == 1
    assert (tmp_path / "x.png").read_text() == "before"
