"""`nnunet_fess cpu-plans`: cut a dataset's nnU-Net plans down to what two CPU cores can train in minutes."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_fess.errors import UserError

# Below this many voxels per axis a bottleneck has no spatial structure left; nnU-Net's own planner stops there too.
_SMALLEST_BOTTLENECK = 4


def main(argv: Sequence[str]) -> int:
    """Write `<output>.json` beside the dataset's plans and print how to use it."""
    parser = argparse.ArgumentParser(
        prog="nnunet_fess cpu-plans",
        description="Write smaller plans beside a dataset's own: fewer features and convolutions, batch 2. The preprocessed "
        "data stay as they are and are shared. For trying things out; train on a GPU with nnU-Net's own plans for results.",
    )
    parser.add_argument("dataset", help="id or name, as in nnUNetv2_train")
    parser.add_argument("-c", "--configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("-p", "--plans", default="nnUNetPlans", help="plans to start from (default: %(default)s)")
    parser.add_argument("-o", "--output", default="nnUNetPlansCPU", help="name of the new plans (default: %(default)s)")
    parser.add_argument("--features", type=_numbers, default=[12, 24, 48, 96], help="per stage (default: 12,24,48,96)")
    parser.add_argument("--batch-size", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--patch-size", type=_numbers, help="such as 48,48,48 (default: as planned)")
    args = parser.parse_args(argv)

    source = dataset_folder(args.dataset) / f"{args.plans}.json"
    if not source.is_file():
        raise UserError(f"{source} does not exist. Run  nnUNetv2_plan_and_preprocess -d {args.dataset}  first.")
    if args.output == args.plans:
        raise UserError(f"--output {args.output} would overwrite the plans it starts from. Choose another name.")
    plans = json.loads(source.read_text())
    small = cut_down(plans, args.configuration, args.features, args.batch_size, args.patch_size)
    small["plans_name"] = args.output
    target = source.with_name(f"{args.output}.json")
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(small, indent=4))
    partial.replace(target)
    shown = small["configurations"][args.configuration]
    print(f"wrote {target}: patch {shown['patch_size']}, features {shown['architecture']['arch_kwargs']['features_per_stage']}")
    print(f"use it:  nnUNetv2_train {args.dataset} {args.configuration} 0 -p {args.output} -tr nnUNetTrainerFESS -device cpu")
    return 0


def dataset_folder(dataset: str) -> Path:
    """The dataset's folder in `nnUNet_preprocessed`, from its id or name.

    Raises:
        UserError: the variable is not set, or no dataset or several match.
    """
    root = os.environ.get("nnUNet_preprocessed")
    if not root:
        raise UserError(
            "the environment variable nnUNet_preprocessed is not set; it names the folder of preprocessed datasets."
        )
    pattern = f"Dataset{int(dataset):03d}_*" if dataset.isdigit() else dataset
    found = sorted(path for path in Path(root).glob(pattern) if path.is_dir())
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise UserError(
            f"{dataset}: expected one folder {pattern} in {root}, found {names}. Plan and preprocess the dataset first."
        )
    return found[0]


def cut_down(
    plans: dict[str, Any],
    configuration: str,
    features: Sequence[int],
    batch_size: int,
    patch_size: Sequence[int] | None = None,
) -> dict[str, Any]:
    """A copy of the plans whose configuration is small.

    The stages keep the planned strides and kernels; the deepest are dropped when the patch has become too small for them, and
    further stages repeat the last number of features. First stage one convolution, the others two, decoder one.

    Args:
        plans: nnU-Net's plans.
        configuration: such as ``3d_fullres``.
        features: channels per stage, from the input.
        batch_size: patches per step.
        patch_size: voxels per axis; None keeps the planned one.

    Raises:
        UserError: no such configuration, an architecture without convolutional stages, or a patch that strides do not divide.
    """
    plans = copy.deepcopy(plans)
    found = plans["configurations"].get(configuration)
    if found is None or "architecture" not in found:
        able = [name for name, content in plans["configurations"].items() if "architecture" in content]
        raise UserError(f"the plans have no configuration {configuration!r} of their own; there are: {', '.join(able)}.")
    network = found["architecture"]["arch_kwargs"]
    encoder_key = next((key for key in ("n_conv_per_stage", "n_blocks_per_stage") if key in network), None)
    if encoder_key is None:
        raise UserError(f"{found['architecture']['network_class_name']} has no convolutional stages to cut down.")
    patch = list(patch_size or found["patch_size"])
    if len(patch) != len(found["patch_size"]):
        raise UserError(f"--patch-size has {len(patch)} axes, the configuration {len(found['patch_size'])}.")
    stages = _stages_that_fit(patch, network["strides"])
    strides = network["strides"][:stages]
    divisors = [math.prod(stride[axis] for stride in strides) for axis in range(len(patch))]
    if any(size % divisor for size, divisor in zip(patch, divisors, strict=True)):
        raise UserError(f"--patch-size {patch} must be divisible by the network's strides {divisors}, axis by axis.")
    found["batch_size"] = batch_size
    found["patch_size"] = patch
    network.update(
        n_stages=stages,
        features_per_stage=[features[min(stage, len(features) - 1)] for stage in range(stages)],
        strides=strides,
        kernel_sizes=network["kernel_sizes"][:stages],
        n_conv_per_stage_decoder=[1] * (stages - 1),
    )
    network[encoder_key] = [1] + [2] * (stages - 1)
    return plans


def _stages_that_fit(patch: Sequence[int], strides: Sequence[Sequence[int]]) -> int:
    """How many stages leave at least the smallest bottleneck on every axis; never fewer than two."""
    size = list(patch)
    for stage, stride in enumerate(strides):
        size = [voxels // step for voxels, step in zip(size, stride, strict=True)]
        too_small = any(voxels < _SMALLEST_BOTTLENECK and step > 1 for voxels, step in zip(size, stride, strict=True))
        if too_small and stage >= 2:
            return stage
    return len(strides)


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if any(number < 1 for number in numbers):
        raise ValueError(text)
    return numbers
