"""The smallest thing nnU-Net takes for a dataset with plans, a trainer on it as nnU-Net makes it, and batches for its steps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnunet_fess.plugin import Term
from nnunet_fess.processes.environment import variables
from nnunet_fess.trainers import build_from
from nnunet_fess.trainers.catalogue import BUILT_IN

LABELS: dict[str, dict[str, Any]] = {
    "plain": {"background": 0, "one": 1, "two": 2},
    "regions": {"background": 0, "whole": [1, 2], "core": [2]},
    "ignore": {"background": 0, "one": 1, "two": 2, "ignore": 3},
    "regions and ignore": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
}
_FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


def network_plans(dim: int, network: str = "PlainConvUNet") -> dict[str, Any]:
    """Three stages on 16 voxels per axis: an nnU-Net network in every respect but size."""
    convs = "n_blocks_per_stage" if network == "ResidualEncoderUNet" else "n_conv_per_stage"
    return {
        "network_class_name": f"dynamic_network_architectures.architectures.unet.{network}",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "conv_op": f"torch.nn.modules.conv.Conv{dim}d",
            "kernel_sizes": [[3] * dim] * 3,
            "strides": [[1] * dim, [2] * dim, [2] * dim],
            convs: [1, 1, 1],
            "n_conv_per_stage_decoder": [1, 1],
            "conv_bias": True,
            "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dim}d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def tiny_plans(dim: int = 3, network: str = "PlainConvUNet", **configuration: Any) -> dict[str, Any]:
    """Plans with one configuration, "tiny", for patches of 16 voxels per axis.

    Args:
        dim: 2 or 3.
        network: see `network_plans`.
        configuration: keys of the configuration that differ; None takes one away.
    """
    tiny = {
        "data_identifier": "nnUNetPlans_tiny",
        "batch_size": 2,
        "patch_size": [16] * dim,
        "spacing": [1.0] * dim,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "architecture": network_plans(dim, network),
        "batch_dice": False,
    } | configuration
    return {
        "dataset_name": "Dataset999_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": list(range(3)),
        "transpose_backward": list(range(3)),
        "label_manager": "LabelManager",
        "configurations": {"tiny": {key: value for key, value in tiny.items() if value is not None}},
    }


def tiny_dataset(labels: str = "plain") -> dict[str, Any]:
    """A dataset.json with those of `LABELS`."""
    dataset = {"channel_names": {"0": "MRI"}, "labels": LABELS[labels], "numTraining": 1, "file_ending": ".nii.gz"}
    if "regions" in labels:
        dataset["regions_class_order"] = list(range(1, 1 + len(LABELS[labels].keys() - {"background", "ignore"})))
    return dataset


@contextmanager
def tiny_folders(root: Path) -> Iterator[None]:
    """nnU-Net's three folders in here, with a preprocessed dataset of nothing."""
    for name in _FOLDERS:
        (root / name).mkdir(exist_ok=True)
    folder = root / "nnUNet_preprocessed" / "Dataset999_Tiny" / "nnUNetPlans_tiny"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "case.npz", data=np.zeros(1))  # nnU-Net infers the storage class from what it finds
    with variables({name: str(root / name) for name in _FOLDERS}):
        yield


def tiny_trainer(
    name: str, labels: str = "plain", dim: int = 3, network: str = "PlainConvUNet", term: Term | None = None, **plans: Any
) -> Any:
    """A trainer on a CPU, initialised; to be called within `tiny_folders`.

    Args:
        name: with options.
        labels: one of `LABELS`.
        dim: spatial axes.
        network: PlainConvUNet or ResidualEncoderUNet.
        term: one that the name may hold and that need not be installed.
        plans: see `tiny_plans`.
    """
    trainer = build_from(name, BUILT_IN if term is None else BUILT_IN.joined_by(term))
    made = trainer(
        plans=tiny_plans(dim, network, **plans) | {"continue_training": False},
        configuration="tiny",
        fold=0,
        dataset_json=tiny_dataset(labels),
        device=torch.device("cpu"),
    )
    made.initialize()
    return made


def random_batch(trainer: Any, seed: int = 0) -> dict[str, Any]:
    """What nnU-Net's loader hands to `train_step`: an image, and one target per deep-supervision scale."""
    generator = torch.Generator().manual_seed(seed)
    manager, dim = trainer.label_manager, len(trainer.configuration_manager.patch_size)
    highest = max(manager.all_labels) + 1 + (manager.ignore_label is not None)
    batch = trainer.configuration_manager.batch_size
    targets = []
    for size in [16, 8] if trainer.enable_deep_supervision else [16]:
        labels = torch.randint(0, highest, (batch, 1, *[size] * dim), generator=generator, dtype=torch.int16)
        if manager.has_regions:
            parts = [*manager.foreground_regions, *([] if manager.ignore_label is None else [(manager.ignore_label,)])]
            tuples = [part if isinstance(part, (tuple, list)) else (part,) for part in parts]
            labels = torch.cat([torch.stack([labels == value for value in part]).any(0) for part in tuples], 1)
        targets.append(labels)
    data = torch.randn((batch, trainer.num_input_channels, *[16] * dim), generator=generator)
    return {"data": data, "target": targets if trainer.enable_deep_supervision else targets[0]}


def check_trains(trainer: str, term: Term, labels: str, dim: int, network: str = "PlainConvUNet") -> None:
    """Three steps and a validation on nnU-Net's own network, with deep supervision; the network's weights move."""
    with tempfile.TemporaryDirectory() as folder, tiny_folders(Path(folder)):
        made = tiny_trainer(f"{trainer}_seed0", labels, dim, network, term)
        before = [parameter.detach().clone() for parameter in made.network.parameters()]
        made.network.train()
        losses = [float(made.train_step(random_batch(made, seed))["loss"]) for seed in range(3)]
        assert not all(map(torch.equal, before, made.network.parameters()))
        made.network.eval()
        with torch.no_grad():
            losses.append(float(made.validation_step(random_batch(made))["loss"]))
        assert np.isfinite(losses).all(), losses


def check_resumed(trainer: str, term: Term) -> None:
    """A training that is continued from a checkpoint goes on as the one that was not interrupted: what it remembers is kept."""
    with tempfile.TemporaryDirectory() as folder, tiny_folders(Path(folder)):
        first, second = (tiny_trainer(f"{trainer}_seed{seed}", term=term) for seed in (0, 0))
        for seed in range(2):
            first.train_step(random_batch(first, seed))
        path = str(Path(first.output_folder) / "checkpoint_latest.pth")
        first.save_checkpoint(path)
        second.load_checkpoint(path)
        continued = []
        for each in (first, second):
            torch.manual_seed(0)  # of what is augmented by chance
            continued.append([float(each.train_step(random_batch(each, seed))["loss"]) for seed in (2, 3)])
        assert continued[0] == continued[1]
