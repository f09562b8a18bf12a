from __future__ import annotations

import json
import re

import pytest
from planned import planned_dataset

from nnunet_fess.cli.main import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "preprocessed"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
    return planned_dataset(tmp_path / "preprocessed")


def test_says_what_was_written_and_how_to_use_it(home, capsys):
    assert main(["plans", "517", "--cpu", "-c", "2d", "--patch-size", "64,64"]) == 0
    said = capsys.readouterr().out
    assert f"wrote {home / 'nnUNetPlansCPU.json'}" in said
    assert "patch [64, 64], batch 2, features [12, 24, 48, 96, 96]" in said
    assert "kept as they are: 3d_lowres, 3d_fullres" in said
    assert "inherit from it" not in said
    assert re.search(r"GPU memory by nnU-Net's estimate: (0\.\d|less than 0\.1) GB", said)
    assert "nnUNetv2_train 517 2d 0 -p nnUNetPlansCPU" in said


def test_says_which_configurations_change_with_it(home, capsys):
    assert main(["plans", "517", "--network", "deeplabv3"]) == 0
    said = capsys.readouterr().out
    assert "kept as they are: 2d, 3d_lowres\n" in said
    assert "inherit from it, and change with it: 3d_cascade_fullres, 3d_fullres_bs4\n" in said


def test_a_dataset_given_by_its_folder_is_named_as_nnunet_takes_it(home, capsys):
    assert main(["plans", str(home), "--cpu"]) == 0
    assert f"nnUNetv2_train {home.name} 3d_fullres 0" in capsys.readouterr().out


@pytest.mark.parametrize("output", [[], ["-o", "nnUNetPlansCPU"]])
@pytest.mark.parametrize("plans", ["../x", "/etc/passwd", "nnUNetPlans.json", "", "übel", "a__b"])
def test_a_wrong_name_of_the_plans_to_start_from_is_blamed_on_its_option(home, capsys, plans, output):
    before = {path.name for path in home.iterdir()}
    assert main(["plans", "517", "--cpu", f"--plans={plans}", *output]) == 1
    assert capsys.readouterr().err.startswith("nnunet_fess plans: --plans ")
    assert {path.name for path in home.iterdir()} == before


def test_cpu_plans_is_the_same(home):
    main(["plans", "517", "--cpu", "-o", "one"])
    main(["cpu-plans", "517", "-o", "two"])
    one, two = (json.loads((home / f"{name}.json").read_text()) for name in ("one", "two"))
    assert one["configurations"] == two["configurations"]


def test_cpu_plans_of_another_network_have_the_same_name(home):
    main(["plans", "517", "--cpu", "--network", "deeplabv3"])
    before = (home / "nnUNetPlansDeepLabV3CPU.json").read_bytes()
    main(["cpu-plans", "517", "--network", "deeplabv3"])
    assert (home / "nnUNetPlansDeepLabV3CPU.json").read_bytes() == before
    assert not (home / "nnUNetPlansCPU.json").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--batch-size", "0"], "a whole number, 1 or more expected, got '0'"),
        (["--batch-size=-3"], "got '-3'"),
        (["--batch-size", "2.5"], "got '2.5'"),
        (["--patch-size", "48x48x48"], "with commas between them expected, such as 48,48,32; got '48x48x48'"),
        (["--features", "8,0"], "got '8,0'"),
        (["--features", ""], "got ''"),
        ([], "nothing would differ from the plans"),
    ],
)
def test_wrong_arguments_are_told_in_words(home, capsys, arguments, said):
    with pytest.raises(SystemExit) as exit_:
        main(["plans", "517", *arguments])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cpu", "--patch-size", "1,1,1"], "must be divisible"),
        (["--cpu", "--features", "8,8,8,8,8,8,8"], "names 7 stages, and the network has 6"),
        (["--cpu", "-c", "4d"], "no configuration '4d' of their own; there are: 2d, 3d_lowres, 3d_fullres"),
        (["--cpu", "--batch-size", str(10**12)], "1000000000000 patches of 128,128,128 have"),
        (["--patch-size", "64,64,64"], "--output must name the plans"),
    ],
)
def test_what_does_not_fit_is_one_line(home, capsys, arguments, said):
    before = {path.name for path in home.iterdir()}
    assert main(["plans", "517", *arguments]) == 1
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert {path.name for path in home.iterdir()} == before
