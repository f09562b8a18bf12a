"""Plans beside a dataset's own: a smaller network, or another one, on the same preprocessed data.

A plans file of ours says so under the key `nnunet_fess`, which nnU-Net ignores; no other file is ever written over.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_fess import __version__
from nnunet_fess.errors import UserError
from nnunet_fess.files import read_json, write_json
from nnunet_fess.folders import find_dataset, folder, refuse_overlap
from nnunet_fess.networks import unet
from nnunet_fess.networks.catalogue import Network, made_by

MARK = "nnunet_fess"
# Other files in a preprocessed dataset's folder, and what nnU-Net's own planners would write over.
_NOT_PLANS = {"dataset", "splits_final", "dataset_fingerprint"}
_RESERVED = _NOT_PLANS | {"nnunetplans"} | {f"nnunetresencunet{size}plans" for size in ("", "m", "l", "xl")}
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]|_(?!_))*(?<!_)")
# What must be the same for two configurations to live in one plans file: they share these.
_SHARED = (
    "dataset_name",
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "label_manager",
    "foreground_intensity_properties_per_channel",
)
# A configuration that has nothing but these of its own is its parent under another name.
_LINKS = {"inherits_from", "previous_stage", "next_stage"}
# nnU-Net's planner: feature map size of a network that fits into 8 GB, and at which batch size. Keyed by spatial axes.
_FITS_8_GB = {2: 85_000_000, 3: 560_000_000}
_FITS_8_GB_RESIDUAL = {2: 135_000_000, 3: 680_000_000}
_AT_BATCH_SIZE = {2: 12, 3: 2}
# 1290³: one map of so many float32 takes 8 GB.
_MOST_VOXELS = 2**31


@dataclass(frozen=True)
class Wish:
    """What is to be different from the planned configuration; None keeps what is planned.

    Attributes:
        network: another network than the planned one.
        cpu: few features and convolutions, batch 2.
        features: channels per stage, from the input.
        batch_size: patches per step.
        patch_size: voxels per axis.
    """

    network: Network | None = None
    cpu: bool = False
    features: Sequence[int] | None = None
    batch_size: int | None = None
    patch_size: Sequence[int] | None = None

    def empty(self) -> bool:
        """Nothing is to be different."""
        return self == Wish()


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        path: the plans file.
        configuration: as nnU-Net resolves it.
        kept: the other configurations of the file that stay as they were.
        following: those that inherit from this one, and have its network now, too.
        gigabytes: of GPU memory by nnU-Net's estimate; None where dataset.json does not tell channels and labels.
        replaced: what an earlier configuration of that name had otherwise; empty if there was none or it was the same.
    """

    path: Path
    configuration: dict[str, Any]
    kept: list[str]
    following: list[str]
    gigabytes: float | None
    replaced: str = ""


def write(
    dataset: str, configuration: str, wish: Wish, *, source: str = "nnUNetPlans", name: str, overwrite: bool = False
) -> Written:
    """Write the configuration that is wished for into the plans `name`, and keep what else is there.

    Args:
        dataset: number, name or folder of a preprocessed dataset.
        configuration: such as ``3d_fullres``.
        wish: what is to be different.
        source: name of the plans to start from.
        name: of the plans to write; a file of ours is added to.
        overwrite: replace a configuration of ours that is there, or that trainings were made with.

    Raises:
        UserError: something does not fit, or the file is not ours, or trainings depend on what it says.
    """
    if name.casefold() == source.casefold():
        raise UserError(f"--output {name} would overwrite the plans it starts from. Choose another name.")
    checked_name(name)
    checked_name(source, "--plans", reserved=False)
    refuse_overlap()
    home = find_dataset(dataset, "nnUNet_preprocessed")
    plans = read_plans(home, source, dataset)
    own = adapted(plans, configuration, wish)
    target = home / f"{name}.json"
    present = _present(target, plans)
    if present is not None and (differing := [key for key in _SHARED if plans.get(key) != present.get(key)]):
        if not overwrite:
            raise UserError(
                f"{target} was made from plans that differ from {source}.json in {', '.join(differing)}. Choose another name "
                "with --output, or make it anew with --overwrite, which drops its other configurations."
            )
        present = None
    before = (present or {}).get("configurations", {}).get(configuration)
    mark = (present or {}).get(MARK, {})
    if not overwrite and before is not None and mark.get("digests", {}).get(configuration, _digest(before)) != _digest(before):
        raise UserError(
            f"the configuration {configuration} of {target} was edited by hand since this command made it. Choose another name "
            "with --output, or replace it with --overwrite."
        )
    made = copy.deepcopy(plans if present is None else present)
    made["configurations"][configuration] = own
    made["plans_name"] = name
    made[MARK] = {
        "version": __version__,
        "made": {**mark.get("made", {}), configuration: source},
        "digests": {**mark.get("digests", {}), configuration: _digest(own)},
    }
    followers = [other for other in made["configurations"] if configuration in _ancestry(made, other)]
    for follower in followers:
        _check_patch(follower, resolve(made, follower))
    if not overwrite:
        _refuse_to_change(home.name, made, present, [configuration, *followers])
    resolved = resolve(made, configuration)
    gigabytes = _gigabytes(home, resolved)  # builds it: what cannot be built is not written
    if present != made:
        write_json(target, made, nan=True)  # nnU-Net's statistics of an empty foreground
    kept = [other for other in made["configurations"] if other not in (configuration, *followers)]
    replaced = _difference(before, own) if before is not None and configuration in _made(present) and before != own else ""
    return Written(target, resolved, kept, followers, gigabytes, replaced)


def default_name(source: str, wish: Wish) -> str:
    """The name of the plans if none is given: the source's, the network, CPU."""
    checked_name(source, "--plans", reserved=False)
    if wish.network is None and not wish.cpu:
        raise UserError("--output must name the plans: with neither --network nor --cpu there is no usual name for them.")
    return source + (wish.network.label if wish.network else "") + ("CPU" if wish.cpu else "")


def checked_name(name: str, option: str = "--output", *, reserved: bool = True) -> str:
    """The name of plans, if it can be one.

    Args:
        name: of the plans.
        option: that gave it.
        reserved: refuse the names of nnU-Net's own files, too.

    Raises:
        UserError: it cannot be a file's name, nnU-Net could not find results by it, or it is taken by nnU-Net.
    """
    if name.casefold().endswith(".json"):
        raise UserError(f"{option} {name}: the name of plans has no .json. Write {option} {name[: -len('.json')]}.")
    if not _NAME.fullmatch(name) or len(name) > 100:
        raise UserError(
            f"{option} {name!r} cannot be the name of plans. Use up to 100 letters, digits, '-', '.' and single '_' inside: it "
            "names a file, and results lie in TRAINER__PLANS__CONFIGURATION, which nnU-Net takes apart at each '__'."
        )
    if name.casefold().partition(".")[0] in _DEVICES:
        raise UserError(f"{option} {name}: Windows has a device of that name, no file can have it. Choose another.")
    if reserved and name.casefold() in _RESERVED:
        raise UserError(f"{option} {name} is the name of a file of nnU-Net's own. Choose another, such as nnUNetPlansCPU.")
    return name


def read_plans(home: Path, name: str, dataset: str) -> dict[str, Any]:
    """Plans of a preprocessed dataset.

    Raises:
        UserError: there are none of that name, it cannot be one, or the file holds something else.
    """
    path = home / f"{checked_name(name, '--plans', reserved=False)}.json"
    if not path.is_file():
        there = ", ".join(sorted(file.stem for file in home.glob("*.json") if file.stem.casefold() not in _NOT_PLANS))
        raise UserError(
            f"{path} does not exist. Run  nnUNetv2_plan_and_preprocess -d {dataset}  first. Plans there: {there or 'none'}."
        )
    return read_plans_file(path)


def read_plans_file(path: Path) -> dict[str, Any]:
    """The content of a plans file, wherever it is.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    content = read_json(path)
    configurations = content.get("configurations") if isinstance(content, dict) else None
    if not isinstance(configurations, dict) or not configurations:
        raise UserError(f"{path} holds no plans of nnU-Net: there is no list of configurations in it.")
    wrong = [name for name, found in configurations.items() if not isinstance(found, dict)]
    if wrong or not isinstance(content.get("plans_name"), str):
        what = f"configuration {wrong[0]!r} is no table" if wrong else "it has no plans_name"
        raise UserError(f"{path} holds no plans of nnU-Net: {what}.")
    return content


def resolve(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """A configuration with what it inherits, as nnU-Net reads it.

    Raises:
        UserError: it or an ancestor is missing, or they inherit in a circle.
    """
    configurations = plans["configurations"]
    if configuration not in configurations:
        raise UserError(f"the plans have no configuration {configuration!r} of their own; there are: {_own(plans)}.")
    resolved: dict[str, Any] = {}
    for name in [*reversed(_ancestry(plans, configuration)), configuration]:
        resolved.update(copy.deepcopy(configurations[name]))
    return resolved


def _own(plans: dict[str, Any]) -> str:
    """The configurations that are more than another's second name."""
    return ", ".join(name for name, found in plans["configurations"].items() if set(found) - _LINKS)


def _ancestry(plans: dict[str, Any], configuration: str) -> list[str]:
    """What a configuration inherits from, nearest first."""
    configurations = plans["configurations"]
    chain: list[str] = []
    name = configurations[configuration].get("inherits_from")
    while name is not None:
        if not isinstance(name, str) or name not in configurations:
            raise UserError(f"configuration {configuration!r} inherits from {name!r}, which the plans do not have.")
        if name == configuration or name in chain:
            raise UserError(
                f"configuration {configuration!r} inherits in a circle: {' → '.join([configuration, *chain, name])}."
            )
        chain.append(name)
        name = configurations[name].get("inherits_from")
    return chain


def adapted(plans: dict[str, Any], configuration: str, wish: Wish) -> dict[str, Any]:
    """What the plans should say of the configuration itself; what it inherits stays inherited.

    Raises:
        UserError: no such configuration, or the wish does not fit it.
    """
    planned = resolve(plans, configuration)
    own: dict[str, Any] = copy.deepcopy(plans["configurations"][configuration])
    if not set(own) - _LINKS:
        parent = own.get("inherits_from")
        raise UserError(
            f"the plans have no configuration {configuration!r} of their own: it "
            + (f"takes everything from {parent} and follows when you change that" if parent else "is empty")
            + f"; there are: {_own(plans) or 'none'}."
        )
    if "UNet_class_name" in planned and "architecture" not in planned:  # plans of nnU-Net before 2.4
        from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

        planned = ConfigurationManager(planned).configuration
        own = {key: value for key, value in own.items() if key in planned}
    missing = [key for key in ("architecture", "patch_size", "batch_size") if key not in planned]
    network = planned.get("architecture")
    if missing or not isinstance(network, dict) or not {"network_class_name", "arch_kwargs"} <= set(network):
        raise UserError(
            f"configuration {configuration!r} of the plans is not complete: it has no {(missing or ['network'])[0]}."
        )
    if not isinstance(network["arch_kwargs"], dict):
        raise UserError(
            f"arch_kwargs of the plans is {network['arch_kwargs']!r}; names with values expected. Mend or remake the plans."
        )
    unet.whole_numbers("batch_size", [planned["batch_size"]])
    unet.whole_numbers("patch_size", planned["patch_size"])
    patch = list(wish.patch_size or planned["patch_size"])
    if len(patch) != len(planned["patch_size"]):
        raise UserError(f"--patch-size has {len(patch)} axes, the configuration {len(planned['patch_size'])}.")
    batch = wish.batch_size or (2 if wish.cpu else planned["batch_size"])
    if batch * math.prod(patch) > _MOST_VOXELS:
        raise UserError(
            f"{batch} patches of {','.join(map(str, patch))} have {batch * math.prod(patch)} voxels; more than {_MOST_VOXELS} "
            "nobody can train with. Give a smaller --patch-size or --batch-size."
        )
    if wish.network is not None:
        architecture = wish.network.architecture(patch, cpu=wish.cpu, features=wish.features)
    elif (ours := made_by(planned["architecture"])) is not None:
        architecture = ours.resized(planned["architecture"], patch, cpu=wish.cpu, features=wish.features)
    else:
        architecture = unet.resized(
            planned["architecture"],
            patch,
            features=wish.features or (unet.CPU_FEATURES if wish.cpu else None),
            few_convolutions=wish.cpu,
        )
    return {**own, "batch_size": batch, "patch_size": patch, "architecture": architecture}


def _check_patch(name: str, configuration: dict[str, Any]) -> None:
    """A configuration that inherits the new network but has a patch size of its own must fit it, too."""
    architecture, patch = configuration["architecture"], configuration["patch_size"]
    unet.whole_numbers("patch_size", patch)
    if (ours := made_by(architecture)) is None:
        unet.resized(architecture, patch)
    elif ours.resized(architecture, patch) != architecture:
        raise UserError(
            f"the configuration {name} inherits this one's network and has patches of {','.join(map(str, patch))}, and "
            f"{ours.label} takes the patches alone that it is made for. Give --patch-size {','.join(map(str, patch))}."
        )


def _present(target: Path, source: dict[str, Any]) -> dict[str, Any] | None:
    """The plans that are there and ours; None if there are none.

    Raises:
        UserError: a file is there that is not ours.
    """
    taken = [path for path in target.parent.iterdir() if path.name.casefold() == target.name.casefold()]
    if not taken:
        return None
    if taken[0].name == target.name and target.is_file():
        content = read_plans_file(target) if _looks_ours(target) else None
        if content is not None and (_is_mark(content.get(MARK)) or _of_an_earlier_version(content, source)):
            return content
    raise UserError(f"{taken[0]} is there and was not made by this command. Choose another name with --output.")


def _is_mark(found: Any) -> bool:
    """What this command writes under `MARK`, and nobody has edited into something else."""
    return (
        isinstance(found, dict)
        and isinstance(found.get("made"), dict)
        and all(isinstance(source, str) for source in found["made"].values())
        and isinstance(found.get("digests", {}), dict)
    )


def _looks_ours(path: Path) -> bool:
    try:
        content = read_json(path)
    except UserError:
        return False
    return isinstance(content, dict) and "configurations" in content


def _of_an_earlier_version(content: dict[str, Any], source: dict[str, Any]) -> bool:
    """Version 0.1.0 did not mark its plans: the source's but for a network with a one-convolution decoder."""
    sized = {"batch_size", "patch_size", "architecture"}

    def rest(plans: dict[str, Any]) -> dict[str, Any]:
        found = {
            name: {key: value for key, value in configuration.items() if key not in sized}
            for name, configuration in plans["configurations"].items()
            if isinstance(configuration, dict)
        }
        return {**plans, "plans_name": None, "configurations": found}

    def one_convolution(configuration: Any) -> bool:
        with contextlib.suppress(KeyError, TypeError):  # it inherits its network, or is nothing that we would write
            return set(configuration["architecture"]["arch_kwargs"]["n_conv_per_stage_decoder"]) == {1}
        return False

    configurations = content["configurations"]
    if not isinstance(configurations, dict) or not any(map(one_convolution, configurations.values())):
        return False
    return rest(content) == rest(source)


def _refuse_to_change(
    dataset: str, made: dict[str, Any], present: dict[str, Any] | None, configurations: Sequence[str]
) -> None:
    """Trainings find their network by the plans' name: what they were made with stays, unless the user says otherwise.

    Raises:
        UserError: the plans would say something else than trainings of that name were made with.
    """
    name = made["plans_name"]
    for configuration in configurations:
        new = resolve(made, configuration)
        there = present is not None and configuration in present.get("configurations", {})
        changed = there and resolve(present or {}, configuration) != new and configuration in _made(present)
        try:
            results = folder("nnUNet_results")
        except UserError:
            if changed:
                raise UserError(
                    f"{name} has another {configuration} already, and nnUNet_results is not set, so that trainings made with "
                    "it cannot be looked for. Choose another name with --output, or replace it with --overwrite."
                ) from None
            continue
        for training in sorted((results / dataset).glob(f"*__{name}__{configuration}")):
            try:
                used = resolve(read_plans_file(training / "plans.json"), configuration)
            except UserError:  # no plans of its own, or none that can be compared: those that are there count
                used = resolve(present, configuration) if there and present else {}
            if used != new:
                raise UserError(
                    f"{training} was trained with another {configuration} of these plans "
                    f"({_difference(used, new)}), and would no longer continue or predict with them. Choose another name with "
                    "--output, or replace the plans with --overwrite."
                )


def _made(present: dict[str, Any] | None) -> list[str]:
    """The configurations of the file that this command made; those of a file without mark all count."""
    if present is None:
        return []
    return list(present[MARK]["made"] if MARK in present else present["configurations"])


def _digest(configuration: dict[str, Any]) -> str:
    """By which a configuration that somebody has edited is told from the one that was written."""
    return f"{zlib.crc32(json.dumps(configuration, sort_keys=True).encode()):08x}"


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    keys = [key for key in other if one.get(key) != other[key]] or [key for key in one if key not in other]
    key = keys[0]
    if key == "architecture" and isinstance(one.get(key), dict):
        return _difference(one[key], other[key])
    if key == "arch_kwargs" and isinstance(one.get(key), dict):
        return _difference(one[key], other[key])
    return f"{key} {one.get(key)}, not {other.get(key)}"


def network_without_weights(configuration: dict[str, Any], channels: int, classes: int) -> Any:
    """The network of a configuration as nnU-Net builds it, on torch's device "meta": sizes without numbers.

    Raises:
        UserError: a package that it is made of is not installed.
    """
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = configuration["architecture"]
    names = (architecture[key] for key in ("network_class_name", "arch_kwargs", "_kw_requires_import"))
    with torch.device("meta"):
        return get_network_from_plans(*names, channels, classes, allow_init=False, deep_supervision=True)


def _gigabytes(home: Path, configuration: dict[str, Any]) -> float | None:
    """GPU memory of a training, by the rule that nnU-Net's planner chooses the batch size with."""
    try:
        dataset = read_json(home / "dataset.json")
        channels = len(dataset.get("channel_names") or dataset["modality"])
        labels = len(dataset["labels"])
    except (UserError, KeyError, TypeError, AttributeError):
        return None
    architecture, axes = configuration["architecture"], len(configuration["patch_size"])
    try:
        network = network_without_weights(configuration, channels, labels)
        size = float(network.compute_conv_feature_map_size(configuration["patch_size"]))
    except UserError:
        raise
    except Exception as error:  # whatever the class that the plans name, and nnU-Net's builder, make of such arguments
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{architecture['network_class_name']} cannot be built: {reason}") from error
    fits = _FITS_8_GB_RESIDUAL if architecture["network_class_name"].endswith("ResidualEncoderUNet") else _FITS_8_GB
    return 8 * size / fits[axes] * configuration["batch_size"] / _AT_BATCH_SIZE[axes]
