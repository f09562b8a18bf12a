from __future__ import annotations

import json
from pathlib import Path

import pytest
from planned import default_plans, planned_dataset

from nnunet_fess.errors import UserError
from nnunet_fess.networks.catalogue import NETWORKS
from nnunet_fess.plans import MARK, Wish, adapted, checked_name, default_name, resolve, write

CPU = Wish(cpu=True)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return planned_dataset(tmp_path / "preprocessed")


def cut(configuration="3d_fullres", wish=CPU, name="small", **arguments):
    return write("517", configuration, wish, name=name, **arguments)


def content(home: Path, name="small"):
    return json.loads((home / f"{name}.json").read_text())


def files(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir()}


def trained(home: Path, configuration="3d_fullres", name="small", trainer="nnUNetTrainerFESS_1epochs") -> Path:
    """What a training that nnU-Net has started leaves of its plans."""
    folder = home.parents[1] / "results" / home.name / f"{trainer}__{name}__{configuration}"
    folder.mkdir(parents=True)
    (folder / "plans.json").write_bytes((home / f"{name}.json").read_bytes())
    return folder


# What was not made by us


@pytest.mark.parametrize("name", ["dataset", "splits_final", "dataset_fingerprint", "Dataset", "nnUNetResEncUNetMPlans"])
def test_names_that_nnunet_uses_are_refused(home, name):
    before = files(home)
    with pytest.raises(UserError, match="is the name of a file of nnU-Net's own"):
        cut(name=name, overwrite=True)
    assert files(home) == before


@pytest.mark.parametrize("mark", [{}, {"made": 3}, {"made": {"2d": 3}}, {"made": {}, "digests": "x"}, [], None])
def test_a_mark_that_somebody_has_edited_is_not_ours(home, mark):
    cut()
    (home / "small.json").write_text(json.dumps({**content(home), MARK: mark}))
    before = files(home)
    with pytest.raises(UserError, match="was not made by this command"):
        cut(wish=Wish(batch_size=3), overwrite=True)
    assert files(home) == before


@pytest.mark.parametrize(
    "broken", [None, 3, {"2d": 3}, {"2d": {"architecture": None}}, {"2d": {"architecture": {"arch_kwargs": 5}}}]
)
def test_plans_of_somebody_else_are_not_ours_whatever_is_in_them(home, broken):
    (home / "small.json").write_text(json.dumps({**content(home, "nnUNetPlans"), "configurations": broken}))
    before = files(home)
    with pytest.raises(UserError, match=r"was not made by this command|holds no plans of nnU-Net"):
        cut(overwrite=True)
    assert files(home) == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patch_size", None),
        ("patch_size", [16, "16", 16]),
        ("batch_size", "2"),
        ("batch_size", 0),
        ("strides", True),
        ("strides", [[1, 1], [2, 2]]),
        ("kernel_sizes", [3, 3]),
        ("kernel_sizes", [[3, 3, 3]]),
        ("features_per_stage", []),
        ("features_per_stage", [8, -8]),
        ("n_conv_per_stage", 2),
        ("norm_op", {"a": 1}),
        ("arch_kwargs", None),
        ("arch_kwargs", 5),
    ],
)
def test_plans_that_somebody_has_edited_wrongly_are_named_by_what_is_wrong(home, key, value):
    plans = content(home, "nnUNetPlans")
    edited = plans["configurations"]["3d_fullres"]
    architecture = edited["architecture"]
    next((part for part in (edited, architecture) if key in part), architecture["arch_kwargs"])[key] = value
    (home / "nnUNetPlans.json").write_text(json.dumps(plans))
    before = files(home)
    with pytest.raises(UserError, match=f"{key} of the plans is|cannot be built"):
        cut(wish=Wish(features=[8]))
    assert files(home) == before


def test_statistics_that_are_no_number_are_kept(home):
    """nnU-Net writes NaN for the intensities of a foreground that is nowhere, and reads it."""
    plans = {**content(home, "nnUNetPlans"), "foreground_intensity_properties_per_channel": {"0": {"mean": float("nan")}}}
    (home / "nnUNetPlans.json").write_text(json.dumps(plans))
    cut()
    cut("2d")
    assert str(content(home)["foreground_intensity_properties_per_channel"]) == "{'0': {'mean': nan}}"


@pytest.mark.parametrize("kind", ["planner", "text", "list", "folder", "by hand", "other mark"])
def test_what_this_command_did_not_make_stays_even_with_overwrite(home, kind):
    other = {**default_plans(home.name), "plans_name": "small", "experiment_planner_used": "MyPlanner"}
    if kind == "planner":
        (home / "small.json").write_text(json.dumps(other))
    elif kind == "other mark":
        (home / "small.json").write_text(json.dumps({**other, MARK: "mine"}))
    elif kind == "by hand":
        other = {**default_plans(home.name), "plans_name": "small"}
        other["configurations"]["3d_fullres"]["batch_size"] = 40
        (home / "small.json").write_text(json.dumps(other))
    elif kind == "folder":
        (home / "small.json").mkdir()
    else:
        (home / "small.json").write_text({"text": "no JSON", "list": "[]"}[kind])
    before = kind == "folder" or (home / "small.json").read_bytes()
    with pytest.raises(UserError, match="was not made by this command"):
        cut(overwrite=True)
    assert kind == "folder" or (home / "small.json").read_bytes() == before


def test_a_name_that_differs_in_case_alone_is_the_same_file_on_some_systems(home):
    cut(name="small")
    with pytest.raises(UserError, match=r"small\.json is there"):
        cut(name="Small")


@pytest.mark.parametrize("name", ["a__b", "", "a/b", ".", "..", "_a", "a_", "ä", "a b", "a\n", "x" * 101, "-o", "/tmp/x"])
def test_names_that_cannot_be_plans(home, name):
    with pytest.raises(UserError, match="cannot be the name of plans"):
        cut(name=name)


@pytest.mark.parametrize("name", ["con", "NUL", "com1.x"])
def test_names_of_devices_are_refused(home, name):
    with pytest.raises(UserError, match="Windows has a device of that name"):
        cut(name=name)


def test_json_in_capitals_is_no_part_of_a_name_either(home):
    with pytest.raises(UserError, match=r"Write --output small\."):
        cut(name="small.JSON")


def test_plans_in_a_folder_that_is_another_of_nnunets_are_refused(home, monkeypatch):
    monkeypatch.setenv("nnUNet_results", str(home))
    before = files(home)
    with pytest.raises(UserError, match=r"nnUNet_results .* lies in nnUNet_preprocessed"):
        cut()
    assert files(home) == before


def test_a_name_with_json_is_told_without(home):
    with pytest.raises(UserError, match="Write --output small"):
        cut(name="small.json")


@pytest.mark.parametrize("name", ["nnUNetPlansCPU", "a", "v1.2-x_y"])
def test_names_that_can(name):
    assert checked_name(name) == name


# What was


def test_a_second_configuration_is_added_to_the_first(home):
    cut("3d_fullres")
    cut("2d")
    found = content(home)["configurations"]
    assert found["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"][0] == 12
    assert found["2d"]["architecture"]["arch_kwargs"]["features_per_stage"][0] == 12
    assert set(content(home)[MARK]["made"]) == {"3d_fullres", "2d"}


def test_the_others_stay_as_they_were(home):
    cut("2d")
    found, source = content(home)["configurations"], content(home, "nnUNetPlans")["configurations"]
    assert {key: value for key, value in found.items() if key != "2d"} == {k: v for k, v in source.items() if k != "2d"}


def test_plans_of_version_0_1_0_without_mark_are_added_to(home):
    cut("3d_fullres")
    unmarked = {key: value for key, value in content(home).items() if key != MARK}
    (home / "small.json").write_text(json.dumps(unmarked))
    cut("2d")
    assert content(home)["configurations"]["3d_fullres"] == unmarked["configurations"]["3d_fullres"]


def test_the_same_again_changes_nothing(home):
    cut()
    trained(home)
    before = files(home)
    cut()
    assert files(home) == before


def test_without_trainings_another_size_replaces(home):
    cut()
    cut(wish=Wish(cpu=True, features=[4, 8]))
    assert content(home)["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"][:2] == [4, 8]


def test_what_is_replaced_is_said(home):
    assert cut().replaced == ""
    assert cut().replaced == ""
    assert cut(wish=Wish(cpu=True, batch_size=3)).replaced == "batch_size 2, not 3"


def test_what_was_edited_by_hand_stays(home):
    written = cut()
    edited = json.loads(written.path.read_text())
    edited["configurations"]["3d_fullres"]["batch_size"] = 9
    written.path.write_text(json.dumps(edited))
    before = files(home)
    with pytest.raises(UserError, match="edited by hand"):
        cut(wish=Wish(cpu=True, features=[4, 8]))
    assert files(home) == before
    cut(wish=Wish(cpu=True, features=[4, 8]), overwrite=True)
    assert content(home)["configurations"]["3d_fullres"]["batch_size"] == 2


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(cpu=True, features=[4, 8]), r"features_per_stage \[12"),
        (Wish(cpu=True, patch_size=[64, 64, 64]), "patch_size"),
        (Wish(cpu=True, batch_size=3), "batch_size 2, not 3"),
    ],
)
def test_another_size_is_refused_where_trainings_would_no_longer_continue(home, wish, said):
    cut()
    folder = trained(home)
    before = files(home)
    with pytest.raises(UserError, match=f"{folder.name} was trained with another 3d_fullres.*{said}"):
        cut(wish=wish)
    assert files(home) == before
    cut(wish=wish, overwrite=True)
    assert files(home) != before


def test_a_training_of_a_configuration_that_inherits_counts(home):
    cut()
    trained(home, "3d_cascade_fullres")
    with pytest.raises(UserError, match="__3d_cascade_fullres was trained with another"):
        cut(wish=Wish(cpu=True, features=[4]))


def test_a_training_whose_plans_file_was_deleted_counts(home):
    cut()
    trained(home)
    (home / "small.json").unlink()
    with pytest.raises(UserError, match="was trained with another 3d_fullres"):
        cut(wish=Wish(cpu=True, features=[4]))


def test_a_training_that_took_the_configuration_uncut_counts(home):
    cut("3d_fullres")
    trained(home, "2d")
    with pytest.raises(UserError, match="__2d was trained with another"):
        cut("2d")


def test_trainings_of_other_plans_do_not_count(home):
    cut()
    cut(name="other")
    trained(home, name="other")
    cut(wish=Wish(cpu=True, features=[4]))


def test_without_nnunet_results_a_change_needs_overwrite(home, monkeypatch):
    cut()
    monkeypatch.delenv("nnUNet_results")
    with pytest.raises(UserError, match="nnUNet_results is not set"):
        cut(wish=Wish(cpu=True, features=[4]))


def test_plans_of_another_fingerprint_are_not_mixed(home):
    cut()
    replanned = {**content(home, "nnUNetPlans"), "transpose_forward": [2, 0, 1]}
    (home / "nnUNetPlans.json").write_text(json.dumps(replanned))
    with pytest.raises(UserError, match=r"differ from nnUNetPlans\.json in transpose_forward"):
        cut("2d")
    cut("2d", overwrite=True)
    assert content(home)["transpose_forward"] == [2, 0, 1]


# What it starts from


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON: line 1"),
        ("", "is no JSON"),
        ("[]", "holds no plans of nnU-Net"),
        ('{"configurations": []}', "there is no list of configurations"),
        ('{"configurations": {"2d": 3}, "plans_name": "x"}', "configuration '2d' is no table"),
        ('{"configurations": {"3d_fullres": {"batch_size": 2}}}', "it has no plans_name"),
        ('{"configurations": {"3d_fullres": {"batch_size": 2}}, "plans_name": "x"}', "is not complete: it has no architecture"),
        (
            '{"configurations": {"3d_fullres": {"architecture": 3, "patch_size": [], "batch_size": 2}}, "plans_name": "x"}',
            "not c",
        ),
        ('{"configurations": {"3d_fullres": {"inherits_from": "x", "spacing": 1}}, "plans_name": "x"}', "inherits from 'x'"),
        (
            '{"configurations": {"3d_fullres": {"inherits_from": "b"}, "b": {"inherits_from": "3d_fullres"}}, "plans_name":""}',
            "in a circle: 3d_fullres → b → 3d_fullres",
        ),
    ],
)
def test_a_source_that_holds_no_plans(home, text, said):
    (home / "mine.json").write_text(text)
    before = files(home)
    with pytest.raises(UserError, match=said):
        cut(source="mine")
    assert files(home) == before


@pytest.mark.parametrize("name", ["dataset", "splits_final"])
def test_another_file_of_the_dataset_is_no_source(home, name):
    with pytest.raises(UserError, match="holds no plans of nnU-Net"):
        cut(source=name)


def test_a_missing_source_lists_what_is_there(home):
    with pytest.raises(UserError, match=r"Plans there: nnUNetPlans\."):
        cut(source="nnUNetPlan")


@pytest.mark.parametrize("name", ["../Dataset517_BraTS2017/nnUNetPlans", "", "/etc/passwd"])
def test_a_source_outside_the_dataset_is_refused(home, name):
    with pytest.raises(UserError, match="cannot be the name of plans"):
        cut(source=name)


def test_a_configuration_that_inherits_keeps_inheriting(home):
    cut("3d_fullres_bs4", Wish(cpu=True, batch_size=3))
    own = content(home)["configurations"]["3d_fullres_bs4"]
    assert own["inherits_from"] == "3d_fullres"
    assert own["batch_size"] == 3
    assert resolve(content(home), "3d_fullres_bs4")["spacing"] == [1.0, 1.0, 1.0]


def test_a_second_name_of_another_configuration_is_explained(home):
    with pytest.raises(UserError, match="takes everything from 3d_fullres and follows"):
        cut("3d_cascade_fullres")


def test_plans_of_old_nnunet_are_read():
    plans = {
        "plans_name": "nnUNetPlans",
        "configurations": {
            "2d": {
                "batch_size": 12,
                "patch_size": [64, 64],
                "UNet_class_name": "PlainConvUNet",
                "UNet_base_num_features": 32,
                "unet_max_num_features": 512,
                "n_conv_per_stage_encoder": [2, 2, 2],
                "n_conv_per_stage_decoder": [2, 2],
                "num_pool_per_axis": [2, 2],
                "pool_op_kernel_sizes": [[1, 1], [2, 2], [2, 2]],
                "conv_kernel_sizes": [[3, 3]] * 3,
            }
        },
    }
    own = adapted(plans, "2d", CPU)
    assert own["architecture"]["arch_kwargs"]["features_per_stage"] == [12, 24, 48]
    assert "UNet_class_name" not in own


# Sizes


def test_a_patch_that_a_follower_does_not_fit_is_refused(home):
    plans = content(home, "nnUNetPlans")
    plans["configurations"]["3d_wide"] = {"inherits_from": "3d_fullres", "patch_size": [144, 144, 144]}
    (home / "nnUNetPlans.json").write_text(json.dumps(plans))
    with pytest.raises(UserError, match="must be divisible"):
        cut("3d_fullres", Wish(batch_size=1))


def test_batch_size_alone_leaves_the_network(home):
    cut(wish=Wish(batch_size=7))
    before, after = (content(home, name)["configurations"]["3d_fullres"] for name in ("nnUNetPlans", "small"))
    assert after == {**before, "batch_size": 7}


def test_memory_of_nnunets_own_plans_is_what_its_planner_aimed_at(home):
    """The default plan of BraTS (128³, batch 2) is made for 8 GB: between 6 and 10 by the same rule."""
    written = cut(wish=Wish(batch_size=2), name="same")
    assert written.gigabytes == pytest.approx(8, abs=2)


def test_memory_is_not_guessed_without_channels(home):
    (home / "dataset.json").unlink()
    assert cut().gigabytes is None


# Other networks


@pytest.mark.parametrize("network", NETWORKS)
def test_another_network_in_the_plans(home, network):
    written = cut("2d", Wish(NETWORKS[network], batch_size=4), name="other")
    architecture = content(home, "other")["configurations"]["2d"]["architecture"]
    assert architecture["network_class_name"] == NETWORKS[network].class_name
    assert written.configuration["spacing"] == [1.0, 1.0]
    assert written.gigabytes > 0


def test_the_planned_patch_must_suit_the_network(home):
    plans = content(home, "nnUNetPlans")
    plans["configurations"]["3d_fullres"]["patch_size"] = [40, 56, 40]
    (home / "nnUNetPlans.json").write_text(json.dumps(plans))
    with pytest.raises(UserError, match="Near it: --patch-size 48,64,48 or 32,48,32"):
        cut(wish=Wish(NETWORKS["unetr"]))


@pytest.mark.parametrize("network", NETWORKS)
def test_plans_of_ours_are_a_source_like_any_other(home, network):
    """Another patch, batch, width or size for a CPU keeps the network and the rest of its sizes."""
    arguments = {}
    cut(wish=Wish(NETWORKS[network], features=[12]), name="first")
    for name, wish in {
        "batch": Wish(batch_size=1),
        "patch": Wish(patch_size=[64, 64, 96]),
        "wide": Wish(features=[24]),
        "small": CPU,
    }.items():
        written = cut(wish=wish, source="first", name=name)
        assert written.configuration["architecture"]["network_class_name"] == NETWORKS[network].class_name
        arguments[name] = written.configuration["architecture"]["arch_kwargs"]
    first = content(home, "first")["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    assert arguments["batch"] == first
    assert arguments["patch"] == first | ({"patch_size": [64, 64, 96]} if NETWORKS[network].knows_patch else {})
    assert arguments["wide"] == first | {"features": 24}
    assert arguments["small"]["features"] == NETWORKS[network].small["features"]
    with pytest.raises(UserError, match="cannot take patches of 1,64,64"):
        cut(wish=Wish(patch_size=[1, 64, 64]), source="first", name="tiny")


def test_a_follower_with_patches_of_its_own_fits_no_network_of_one_size(home):
    plans = content(home, "nnUNetPlans")
    plans["configurations"]["3d_wide"] = {"inherits_from": "3d_fullres", "patch_size": [144, 144, 144]}
    (home / "nnUNetPlans.json").write_text(json.dumps(plans))
    cut(wish=Wish(NETWORKS["vnet"]), name="vnet")
    with pytest.raises(UserError, match=r"3d_wide inherits this one's network.*Give --patch-size 144,144,144\."):
        cut(wish=Wish(NETWORKS["unetr"]), name="unetr")


@pytest.mark.parametrize("network", [None, *NETWORKS])
@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"patch_size": [2**20] * 3}, "voxels; more than 2147483648 nobody"),
        ({"patch_size": [2**70, 64, 64]}, "voxels; more than 2147483648 nobody"),
        ({"features": [2**70]}, r"cannot be built: "),
    ],
)
def test_a_size_that_no_network_can_be_built_for_writes_nothing(home, network, wish, said):
    before = files(home)
    with pytest.raises(UserError, match=said):
        cut(wish=Wish(NETWORKS[network] if network else None, **wish))
    assert files(home) == before


def test_an_empty_configuration_is_called_empty(home):
    (home / "odd.json").write_text(json.dumps({"plans_name": "odd", "configurations": {"3d_fullres": {}}}))
    with pytest.raises(UserError, match="it is empty; there are: none"):
        cut(source="odd")


def test_another_network_under_a_name_that_trainings_have_is_refused(home):
    cut()
    trained(home)
    with pytest.raises(UserError, match=r"network_class_name dynamic_network.*, not nnunet_fess\.networks\.vnet"):
        cut(wish=Wish(NETWORKS["vnet"]))


def test_usual_names():
    assert default_name("nnUNetPlans", CPU) == "nnUNetPlansCPU"
    assert default_name("nnUNetPlans", Wish(NETWORKS["vnet"])) == "nnUNetPlansVNet"
    assert default_name("nnUNetPlans", Wish(NETWORKS["unetr"], cpu=True)) == "nnUNetPlansUNETRCPU"
    with pytest.raises(UserError, match="must name the plans"):
        default_name("nnUNetPlans", Wish(batch_size=3))
