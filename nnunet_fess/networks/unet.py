"""The convolutional U-Net that nnU-Net planned, for another patch size or with fewer features and convolutions."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

from nnunet_fess.errors import UserError

# Below this many voxels per axis a bottleneck has no spatial structure left; nnU-Net's own planner stops there too.
_SMALLEST_BOTTLENECK = 4
CPU_FEATURES = (12, 24, 48, 96)


def resized(
    architecture: dict[str, Any],
    patch: Sequence[int],
    *,
    features: Sequence[int] | None = None,
    few_convolutions: bool = False,
) -> dict[str, Any]:
    """The planned architecture for a patch of this size.

    The stages keep the planned strides and kernels; the deepest are dropped when the patch has become too small for them, and
    further stages repeat the last number of features.

    Args:
        architecture: of a configuration of nnU-Net's plans.
        patch: voxels per axis.
        features: channels per stage, from the input; None keeps the planned ones.
        few_convolutions: first stage one convolution, the others two, decoder one.

    Raises:
        UserError: an architecture without convolutional stages, more features than stages, or a patch that the strides do not
            divide or of which they leave a single voxel.
    """
    architecture = copy.deepcopy(architecture)
    network = architecture["arch_kwargs"]
    encoder_key = next((key for key in ("n_conv_per_stage", "n_blocks_per_stage") if key in network), None)
    if encoder_key is None or not {"strides", "kernel_sizes", "features_per_stage", "n_conv_per_stage_decoder"} <= set(network):
        raise UserError(f"{architecture['network_class_name']} has no convolutional stages to cut down.")
    for key in ("features_per_stage", encoder_key, "n_conv_per_stage_decoder"):
        whole_numbers(key, network[key])
    for key in ("strides", "kernel_sizes"):
        for stage in _list(key, network[key]):
            whole_numbers(key, stage, axes=len(patch))
    if (wrong := _what_is_wrong(patch, network["strides"])) is not None:
        raise UserError(f"--patch-size {_text(patch)} {wrong} {_text(_next_that_fits(patch, network['strides']))} works.")
    stages = _stages_that_fit(patch, network["strides"])
    strides = network["strides"][:stages]
    if features is not None and len(features) > stages and tuple(features) != CPU_FEATURES:
        raise UserError(
            f"--features names {len(features)} stages, and the network has {stages} with a patch of {_text(patch)}. "
            f"Give {stages} numbers or fewer; the last one is repeated."
        )
    chosen = list(features or network["features_per_stage"])
    network.update(
        n_stages=stages,
        features_per_stage=[chosen[min(stage, len(chosen) - 1)] for stage in range(stages)],
        strides=strides,
        kernel_sizes=network["kernel_sizes"][:stages],
    )
    network[encoder_key] = [1] + [2] * (stages - 1) if few_convolutions else network[encoder_key][:stages]
    decoder = network["n_conv_per_stage_decoder"]
    network["n_conv_per_stage_decoder"] = [1] * (stages - 1) if few_convolutions else decoder[: stages - 1]
    return architecture


def whole_numbers(key: str, found: Any, axes: int | None = None) -> None:
    """Refuse what plans that somebody has edited say under a key, if it is not what nnU-Net writes there.

    Args:
        key: in the plans.
        found: what is there; a list of whole numbers of 1 or more is right.
        axes: how many.

    Raises:
        UserError: it is something else.
    """
    if any(not isinstance(number, int) or number < 1 for number in _list(key, found)) or len(found) != (axes or len(found)):
        count = f"{axes} whole numbers" if axes else "whole numbers"
        raise UserError(f"{key} of the plans is {found!r}; {count} of 1 or more expected. Mend or remake the plans.")


def _list(key: str, found: Any) -> Sequence[Any]:
    if not isinstance(found, list | tuple) or not found:
        raise UserError(f"{key} of the plans is {found!r}; a list expected. Mend or remake the plans.")
    return found


def _what_is_wrong(patch: Sequence[int], strides: Sequence[Sequence[int]]) -> str | None:
    divisors = _divisors(patch, strides)
    if any(size % divisor for size, divisor in zip(patch, divisors, strict=True)):
        return f"must be divisible by the network's strides {_text(divisors)}, axis by axis."
    return "leaves one voxel of the deepest stage." if tuple(patch) == divisors else None


def _next_that_fits(patch: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """A larger patch that is taken. What is rounded up may have room for further stages, which divide anew."""
    fitting = tuple(patch)
    while _what_is_wrong(fitting, strides) is not None:
        divisors = _divisors(fitting, strides)
        up = tuple(-(-size // divisor) * divisor for size, divisor in zip(fitting, divisors, strict=True))
        fitting = up if up != fitting else tuple(2 * size for size in fitting)
    return fitting


def _divisors(patch: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """What the stages that fit divide each axis by."""
    fit = strides[: _stages_that_fit(patch, strides)]
    return tuple(math.prod(stride[axis] for stride in fit) for axis in range(len(patch)))


def _stages_that_fit(patch: Sequence[int], strides: Sequence[Sequence[int]]) -> int:
    """How many stages leave at least the smallest bottleneck on every axis; never fewer than two."""
    size = list(patch)
    for stage, stride in enumerate(strides):
        size = [voxels // step for voxels, step in zip(size, stride, strict=True)]
        too_small = any(voxels < _SMALLEST_BOTTLENECK and step > 1 for voxels, step in zip(size, stride, strict=True))
        if too_small and stage >= 2:
            return stage
    return len(strides)


def _text(sizes: Sequence[int]) -> str:
    return ",".join(str(size) for size in sizes)
