"""The lock says what was run, resolved, and can be read by any YAML reader."""

from __future__ import annotations

import yaml

from nnunet_fess.study.run import run_study


def test_every_default_every_run_versions_and_machine(played):
    file = played.file(seeds=[3])
    run_study(file)
    lock = yaml.safe_load((file.results / "study.lock.yaml").read_text("utf-8"))
    assert lock["study"]["training_sizes"] == ["all"]
    assert lock["study"]["plans"] == "nnUNetPlans"
    assert list(lock["runs"]) == ["DiceCE-seed3-fold0-all", "CWCD-seed3-fold0-all"]
    run = lock["runs"]["CWCD-seed3-fold0-all"]
    assert (run["trainer"], run["training_cases"]) == ("nnUNetTrainerCWCD_2epochs_seed3", 9)
    assert run["made_of"]["content of the plans"]
    assert {"nnunetv2", "torch", "python"} <= set(lock["versions"])
    assert lock["machine"]["cores"] >= 1
