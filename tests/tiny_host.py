"""The smallest thing nnU-Net takes for a dataset with plans; shared by the tests that need one."""

from __future__ import annotations

from typing import Any

LABELS = {
    "plain": {"background": 0, "one": 1, "two": 2},
    "regions": {"background": 0, "whole": [1, 2], "core": [2]},
    "ignore": {"background": 0, "one": 1, "two": 2, "ignore": 3},
    "regions and ignore": {"background": 0, "whole": [1, 2], "core": [2], "ignore": 3},
}


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
