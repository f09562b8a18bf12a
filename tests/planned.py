"""A dataset's plans as nnU-Net's planner writes them, for the tests that read plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnunet_fess.testing.tiny_trainer import network_plans


def planned_dataset(preprocessed: Path, name: str = "Dataset517_BraTS2017") -> Path:
    """The dataset's folder with nnUNetPlans.json, dataset.json, splits and fingerprint; nothing is preprocessed."""
    folder = preprocessed / name
    folder.mkdir(parents=True)
    (folder / "nnUNetPlans.json").write_text(json.dumps(default_plans(name), indent=4))
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": 3}
    dataset = {"channel_names": {str(i): "MRI" for i in range(4)}, "labels": labels, "numTraining": 8, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps({**dataset, "regions_class_order": [1, 2, 3]}))
    (folder / "splits_final.json").write_text(json.dumps([{"train": ["a"], "val": ["b"]}]))
    (folder / "dataset_fingerprint.json").write_text(json.dumps({"spacings": [[1, 1, 1]]}))
    return folder


def default_plans(name: str) -> dict[str, Any]:
    def configuration(dim: int, stages: int, patch: int, batch: int) -> dict[str, Any]:
        network = network_plans(dim)
        network["arch_kwargs"].update(
            n_stages=stages,
            features_per_stage=[min(32 * 2**stage, 320) for stage in range(stages)],
            strides=[[1] * dim] + [[2] * dim] * (stages - 1),
            kernel_sizes=[[3] * dim] * stages,
            n_conv_per_stage=[2] * stages,
            n_conv_per_stage_decoder=[2] * (stages - 1),
        )
        return {
            "data_identifier": f"nnUNetPlans_{dim}d",
            "batch_size": batch,
            "patch_size": [patch] * dim,
            "spacing": [1.0] * dim,
            "architecture": network,
        }

    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "experiment_planner_used": "ExperimentPlanner",
        "transpose_forward": [0, 1, 2],
        "configurations": {
            "2d": configuration(2, 6, 192, 105),
            "3d_lowres": {**configuration(3, 6, 128, 2), "next_stage": "3d_cascade_fullres"},
            "3d_fullres": configuration(3, 6, 128, 2),
            "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
            "3d_fullres_bs4": {"inherits_from": "3d_fullres", "batch_size": 4},
        },
    }
