"""Four small datasets, one for each kind of labels, preprocessed by nnU-Net, and commands on them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import nibabel
import numpy as np

from nnunet_fess.extension import DIRECTORY, VARIABLE
from nnunet_fess.testing.tiny_trainer import network_plans, tiny_dataset

SHAPE, SPACING = (18, 22, 22), (2.0, 1.0, 1.0)  # stored as z, y, x
NUMBERS = {"plain": 901, "regions": 902, "ignore": 903, "regions and ignore": 904}
PLANS = {"UNet": "Tiny", "ResEnc": "TinyResEnc"}
NETWORKS = {"UNet": "PlainConvUNet", "ResEnc": "ResidualEncoderUNet"}


class Failed(AssertionError):
    """A command did not end well; the message is the command and the end of what it printed."""


class Host:
    """A folder with nnU-Net's three roots; to be closed.

    Args:
        root: an empty folder.
        kinds: of labels, of which there is to be a dataset.
    """

    def __init__(self, root: Path, kinds: list[str] | None = None):
        self.root = root
        self.kinds = kinds or list(NUMBERS)
        for name in ("raw", "preprocessed", "results", "logs"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            **{f"nnUNet_{name}": str(root / name) for name in ("raw", "preprocessed", "results")},
            "nnUNet_n_proc_DA": "0",
            "nnUNet_def_n_proc": "1",
            "OMP_NUM_THREADS": "1",
            VARIABLE: str(DIRECTORY),
        }
        self.server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("server.py"))],
            env=self.environment,
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Host:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.stdout.close()
        self.server.kill()  # between two commands it has nothing to lose
        self.server.wait()

    # Commands

    def run(self, *commands: str, seconds: float = 3600, **environment: str) -> list[tuple[int, str]]:
        """Exit code and everything that was printed, of commands that are started at once."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        logs = [self.root / "logs" / f"{uuid.uuid4().hex}.txt" for _ in commands]
        requests = [
            {"words": command.split(), "log": str(log), "seconds": seconds, "environment": environment}
            for command, log in zip(commands, logs, strict=True)
        ]
        print(json.dumps(requests), file=self.server.stdin, flush=True)
        answer = self.server.stdout.readline()
        texts = [log.read_text("utf-8", errors="replace") if log.is_file() else "" for log in logs]
        if not answer:
            raise Failed(f"{commands}\nthe server is gone\n{texts[0][-3000:]}")
        return list(zip(json.loads(answer), texts, strict=True))

    def succeed(self, command: str, **environment: str) -> str:
        ((code, text),) = self.run(command, **environment)
        if code:
            raise Failed(f"{command}\nexit code {code}\n{text[-4000:]}")
        return text

    # Datasets

    def prepare(self) -> None:
        """Write, plan and preprocess the datasets with nnU-Net's own commands."""
        numbers = [NUMBERS[kind] for kind in self.kinds]
        for kind in self.kinds:
            self._write(kind)
        listed = " ".join(map(str, numbers))
        first, *others = self.kinds
        # The planner breaks with 0 processes, and its fingerprint of five tiny images takes as long as of large ones.
        self.succeed(
            f"nnUNetv2_plan_and_preprocess -d {numbers[0]} --verify_dataset_integrity --no_pp -npfp 1", nnUNet_n_proc_DA="1"
        )
        for kind in others:
            self.preprocessed(kind).mkdir()
            shutil.copy(self.raw(kind) / "dataset.json", self.preprocessed(kind))
            for file in ("dataset_fingerprint.json", "nnUNetPlans.json"):
                text = (self.preprocessed(first) / file).read_text()
                (self.preprocessed(kind) / file).write_text(text.replace(self.name(first), self.name(kind)))
        for kind in self.kinds:
            for network in PLANS:
                self._cut_down(kind, network)
        self.succeed(f"nnUNetv2_preprocess -d {listed} -plans_name Tiny -c 2d 3d_fullres 3d_lowres -np 1 1 1")

    def _write(self, kind: str) -> None:
        folder = self.raw(kind)
        for name in ("imagesTr", "labelsTr", "imagesTs"):
            (folder / name).mkdir(parents=True)
        random = np.random.default_rng(0)
        grid = np.indices(SHAPE).astype(float) * np.array(SPACING)[:, None, None, None]
        affine = np.diag([*SPACING[::-1], 1.0])
        for case in range(5):  # nnU-Net splits in five
            centre = np.array(SHAPE) * SPACING / 2 + random.uniform(-2, 2, 3)
            distance = np.sqrt(((grid - centre[:, None, None, None]) ** 2).sum(0))
            radius = random.uniform(6, 9)
            label = (distance < radius).astype(np.uint8) + (distance < radius / 2)
            image = nibabel.Nifti1Image((label + random.normal(0, 0.3, SHAPE)).astype(np.float32).T, affine)
            if "ignore" in kind:
                label[:, : 4 + case] = 3
            nibabel.save(image, folder / "imagesTr" / f"case{case}_0000.nii.gz")
            nibabel.save(nibabel.Nifti1Image(label.T, affine), folder / "labelsTr" / f"case{case}.nii.gz")
        nibabel.save(image, folder / "imagesTs" / "test_0000.nii.gz")
        dataset = tiny_dataset(kind) | {"numTraining": 5}
        (folder / "dataset.json").write_text(json.dumps(dataset))

    def _cut_down(self, kind: str, network: str) -> None:
        """The planner's plans with a tiny network, and with the low resolution that it plans for large images only."""
        folder = self.preprocessed(kind)
        plans = json.loads((folder / "nnUNetPlans.json").read_text())
        planned = plans["configurations"]

        def tiny(configuration: dict[str, Any], dim: int, **more: Any) -> dict[str, Any]:
            size = {"batch_size": 2, "patch_size": [16] * dim, "architecture": network_plans(dim, NETWORKS[network])}
            return configuration | size | more

        full = planned["3d_fullres"]
        low = [spacing * 1.5 for spacing in full["spacing"]]
        plans["plans_name"] = PLANS[network]
        plans["configurations"] = {
            "2d": tiny(planned["2d"], 2),
            "3d_fullres": tiny(full, 3),
            "3d_lowres": tiny(full, 3, data_identifier="Tiny_3d_lowres", spacing=low, next_stage="3d_cascade_fullres"),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        }
        (folder / f"{PLANS[network]}.json").write_text(json.dumps(plans))

    # Places

    @staticmethod
    def name(kind: str) -> str:
        return f"Dataset{NUMBERS[kind]}_{kind.title().replace(' ', '')}"

    def raw(self, kind: str) -> Path:
        return self.root / "raw" / self.name(kind)

    def preprocessed(self, kind: str) -> Path:
        return self.root / "preprocessed" / self.name(kind)

    def model(self, kind: str, trainer: str, network: str, configuration: str) -> Path:
        return self.root / "results" / self.name(kind) / f"{trainer}__{PLANS[network]}__{configuration}"
