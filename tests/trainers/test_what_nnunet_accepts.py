"""Everything that nnU-Net's own readers accept in dataset.json and plans, with every kind of trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnunet_fess.testing.tiny_trainer import LABELS, tiny_dataset, tiny_plans
from nnunet_fess.trainers.catalogue import FEATURE
from nnunet_fess.trainers.composed_trainer import _class_names

TRAINERS = ["nnUNetTrainerDiceCE", "nnUNetTrainerCWCD", *(f"nnUNetTrainer{feature}" for feature in FEATURE)]


def dataset(**changes: Any) -> dict[str, Any]:
    changed = tiny_dataset() | changes
    return {key: value for key, value in changed.items() if value is not None}


DATASETS = {
    "modality": dataset(channel_names=None, modality={"0": "MRI"}),
    "both, of which nnU-Net takes modality": dataset(channel_names={"0": "a", "1": "b"}, modality={"0": "MRI"}),
    "several channels": dataset(channel_names={"0": "T1", "1": "T2", "2": "FLAIR"}),
    "a reader of its own": dataset(overwrite_image_reader_writer="NibabelIO"),
    "labels as lists of one": dataset(labels={"background": 0, "one": [1], "two": [2]}),
    "labels in any order": dataset(labels={"two": 2, "background": 0, "one": 1}),
    "labels as text": dataset(labels={"background": "0", "one": "1", "two": "2"}),
    "two names for a label": dataset(labels={"background": 0, "one": 1, "uno": 1, "two": 2}),
    "ignore first": dataset(labels={"ignore": 3, "background": 0, "one": 1, "two": 2}),
    "ignore between": dataset(labels={"background": 0, "ignore": 2, "one": 1}),
    "a region of one label": dataset(labels={"background": 0, "whole": [1, 2], "core": 2}, regions_class_order=[1, 2]),
    "regions, ignore first": dataset(
        labels={"ignore": 3, "background": 0, "whole": [1, 2], "core": [2]}, regions_class_order=[1, 2]
    ),
    "a class order without regions": dataset(regions_class_order=[1, 2]),
    "no file ending, no count": dataset(file_ending=None, numTraining=None),
    "one class": dataset(labels={"background": 0, "one": 1}),
}
OLD = {
    "architecture": None,
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 4,
    "unet_max_num_features": 8,
    "n_conv_per_stage_encoder": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "num_pool_per_axis": [2, 2, 2],
    "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "conv_kernel_sizes": [[3, 3, 3]] * 3,
}


def inherited() -> dict[str, Any]:
    plans = tiny_plans()
    plans["configurations"] = {"parent": plans["configurations"]["tiny"], "tiny": {"inherits_from": "parent", "batch_size": 1}}
    return plans


def without(plans: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in plans.items() if key not in keys}


PLANS = {
    "of nnU-Net 2.0 to 2.3": tiny_plans(**OLD),
    "inherited": inherited(),
    "without label manager": without(tiny_plans(), "label_manager"),
    "spacing and patch in whole numbers": tiny_plans(spacing=[3, 1, 1], patch_size=[16, 16, 16]),
    "batch dice": tiny_plans(batch_dice=True),
}


def losses(trainer: Any, random_batch: Any) -> list[float]:
    trainer.network.train()
    return [float(trainer.train_step(random_batch(trainer, seed))["loss"]) for seed in range(2)]


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("name", TRAINERS)
def test_dataset_json(make_trainer, random_batch, name, kind):
    assert np.isfinite(losses(make_trainer(name, dataset=DATASETS[kind]), random_batch)).all()


@pytest.mark.filterwarnings("ignore:Detected old nnU-Net plans format")
@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("name", TRAINERS)
def test_plans(make_trainer, random_batch, name, kind):
    assert np.isfinite(losses(make_trainer(name, plans=PLANS[kind]), random_batch)).all()


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("labels in any order", ["background", "one", "two"]),
        ("labels as text", ["background", "one", "two"]),
        ("two names for a label", ["background", "one", "two"]),
        ("ignore between", ["background", "one"]),
        ("a region of one label", ["whole", "core"]),
        ("regions, ignore first", ["whole", "core"]),
    ],
)
def test_the_classes_are_those_of_the_networks_channels(make_trainer, kind, names):
    manager = make_trainer("nnUNetTrainerCE", dataset=DATASETS[kind], initialize=False).label_manager
    assert _class_names(manager) == names
    assert len(names) == manager.num_segmentation_heads


@pytest.mark.parametrize("labels", LABELS)
def test_a_cascades_labels_are_no_image_channels(make_trainer, labels):
    plans = tiny_plans(previous_stage="lowres")
    plans["configurations"]["lowres"] = tiny_plans()["configurations"]["tiny"] | {"next_stage": "tiny"}
    trainer = make_trainer(
        "nnUNetTrainerSimCLR", plans=plans, dataset=tiny_dataset(labels) | {"modality": {"0": "a", "1": "b"}}
    )
    assert trainer.num_input_channels == 4
    assert trainer.loss.feature.image_channels == 2
