"""A dataset of nnU-Net's that nobody has to preprocess, and nnU-Net's commands played by a script in a few milliseconds."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest

from nnunet_fess.study.config import StudyFile, load

PLAYED = r"""#!{python}
import glob, json, os, sys, time, zipfile
name, args = os.path.basename(sys.argv[0]), sys.argv[1:]
root = os.environ["PLAYED"]
option = lambda flag: args[args.index(flag) + 1]
wish = json.load(open(root + "/wish.json"))
with open(root + "/calls.txt", "a") as calls:
    calls.write(json.dumps({{"program": name, "args": args, "cores": os.cpu_count(), "pid": os.getpid(), "gpu":
        os.environ.get("CUDA_VISIBLE_DEVICES"), "time": time.time(), "threads": os.environ.get("OMP_NUM_THREADS")}}) + "\n")
def checkpoint(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("data", "weights")
if name == "nnUNetv2_train":
    number, configuration, fold = args[:3]
    dataset = os.path.basename(glob.glob(f"{{os.environ['nnUNet_preprocessed']}}/Dataset{{int(number):03d}}_*")[0])
    trainer = option("-tr")
    base = f"{{os.environ['nnUNet_results']}}/{{dataset}}/{{trainer}}__{{option('-p')}}__{{configuration}}/fold_{{fold}}"
    os.makedirs(base + "/validation", exist_ok=True)
    done = "--val" in args or os.path.exists(base + "/checkpoint_final.pth")
    json.dump({{"num_epochs": str(wish["epochs"])}}, open(base + "/debug.json", "w"))
    first = 1 if "--c" in args else 0
    for epoch in range(first, 0 if done else wish["epochs"]):
        print(f"2026-01-01 00:00:00.1: Epoch {{epoch}} ", flush=True)
        time.sleep(wish["seconds"])
        if any(word in trainer for word in wish["fail"]):
            sys.exit("RuntimeError: it would not learn")
        checkpoint(base + "/checkpoint_best.pth")
        if os.path.exists(os.environ.get("nnUNet_fess_stop", "")):
            checkpoint(base + "/checkpoint_latest.pth")
            os.unlink(os.environ["nnUNet_fess_stop"])
            sys.exit(75)
        print(f"2026-01-01 00:00:00.1: Epoch time: {{wish['seconds']}} s ", flush=True)
    if not done:
        checkpoint(base + "/checkpoint_final.pth")
    if any(word in trainer for word in wish["validation fails"]):
        sys.exit("the validation failed")
    splits = json.load(open(f"{{os.environ['nnUNet_preprocessed']}}/{{dataset}}/splits_final.json"))
    for case in splits[int(fold)]["val"]:
        open(f"{{base}}/validation/{{case}}.nii.gz", "w").write("prediction")
    json.dump({{"metric_per_case": []}}, open(base + "/validation/summary.json", "w"))
elif name == "nnUNetv2_predict":
    os.makedirs(option("-o"))
    for image in glob.glob(option("-i") + "/*_0000.nii.gz"):
        open(f"{{option('-o')}}/{{os.path.basename(image)[:-12]}}.nii.gz", "w").write("prediction")
else:
    sys.exit(f"{{name}} is not played")
"""


class Played:
    """nnU-Net as the tests' programs play it.

    Attributes:
        root: a folder with everything.
        environment: what a process needs to see it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        programs = root / "bin"
        programs.mkdir()
        for name in ("train", "predict", "plan_and_preprocess", "preprocess"):
            path = programs / f"nnUNetv2_{name}"
            path.write_text(PLAYED.format(python=sys.executable))
            path.chmod(path.stat().st_mode | stat.S_IEXEC)
        # the real one, which these tests do not call
        (programs / "nnunet_fess").write_text("#!/bin/sh\nexit 1\n")
        (programs / "nnunet_fess").chmod(0o755)
        own = str(Path(sys.executable).parent)
        self.environment = {
            "PATH": os.pathsep.join([str(programs), own, os.environ["PATH"]]),
            "PLAYED": str(root),
            "nnUNet_raw": str(root / "raw"),
            "nnUNet_preprocessed": str(root / "preprocessed"),
        }
        self.preprocessed = root / "preprocessed" / "Dataset999_Played"
        self.raw = root / "raw" / "Dataset999_Played"
        self.dataset("Dataset999_Played", 12)
        self.wish()

    def dataset(self, name: str, cases: int, *plans_names: str) -> None:
        """Make a dataset that is planned and preprocessed, with two test cases; several plans share the preprocessed data."""
        preprocessed, raw = (self.root / folder / name for folder in ("preprocessed", "raw"))
        for folder in ("nnUNetPlans_3d_fullres", "gt_segmentations"):
            (preprocessed / folder).mkdir(parents=True)
        for folder in ("imagesTs", "labelsTs", "imagesTr", "labelsTr"):
            (raw / folder).mkdir(parents=True)
        for number in range(cases):
            (preprocessed / "nnUNetPlans_3d_fullres" / f"case{number:03d}.pkl").touch()
            for labels in (preprocessed / "gt_segmentations", raw / "labelsTr"):
                (labels / f"case{number:03d}.nii.gz").write_text("label")
        for case in ("test0", "test1"):
            (raw / "imagesTs" / f"{case}_0000.nii.gz").write_text("image")
            (raw / "labelsTs" / f"{case}.nii.gz").write_text("label")
        description = {"channel_names": {"0": "MR"}, "labels": {"background": 0, "part": 1}, "file_ending": ".nii.gz"}
        for folder in (preprocessed, raw):
            (folder / "dataset.json").write_text(json.dumps(description))
        layers = {"features_per_stage": [8, 16], "kernel_sizes": [[3, 3, 3]] * 2, "n_conv_per_stage": [2, 2]}
        configuration = {"data_identifier": "nnUNetPlans_3d_fullres", "architecture": {"arch_kwargs": layers}}
        for plans_name in plans_names or ["nnUNetPlans"]:
            plans = {"plans_name": plans_name, "configurations": {"3d_fullres": configuration, "2d": {}}}
            (preprocessed / f"{plans_name}.json").write_text(json.dumps(plans))
        (preprocessed / "dataset_fingerprint.json").write_text(json.dumps({"spacings": [[1, 1, 1]] * cases}))

    def wish(self, epochs: int = 2, seconds: float = 0.0, fail: tuple[str, ...] = (), validation: tuple[str, ...] = ()) -> None:
        """How trainings go from now on: trainers with these words in their name fail."""
        content = {"epochs": epochs, "seconds": seconds, "fail": fail, "validation fails": validation}
        (self.root / "wish.json").write_text(json.dumps(content))

    def calls(self, program: str = "nnUNetv2_train") -> list[dict]:
        path = self.root / "calls.txt"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["program"] == program]

    def file(self, **changes: object) -> StudyFile:
        """A study of two trainers on a CPU, with changes; a key of None is left out."""
        return load(self.write(**changes))

    def write(self, **changes: object) -> Path:
        content = {
            "name": "played",
            "dataset": 999,
            "device": "cpu",
            "trainers": ["DiceCE", "CWCD"],
            "options": "2epochs",
            **changes,
        }
        path = self.root / "study.yaml"
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), "utf-8")
        return path


@pytest.fixture
def played(tmp_path, monkeypatch) -> Played:
    (tmp_path / "Prüf ung").mkdir()  # spaces and letters that ASCII lacks go everywhere
    played = Played(tmp_path / "Prüf ung")
    for name, value in played.environment.items():
        monkeypatch.setenv(name, value)
    return played
