"""A trained model for people without this package: stock nnU-Net predicts the same voxels with the copy.

Our trainers change the loss and leave the network alone, so that only the trainer's name in the checkpoint stands in the way.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_fess.errors import UserError
from nnunet_fess.files import read_json, whole, write_json
from nnunet_fess.folders import find_dataset, resolved
from nnunet_fess.plans import checked_name, resolve

STOCK = "nnUNetTrainer"
# The key of our own state in a checkpoint, by which a training of ours is told.
_STATE = "nnunet_fess"
_STOCK_NETWORKS = "dynamic_network_architectures."


@dataclass(frozen=True)
class Model:
    """A trained model in nnUNet_results.

    Attributes:
        path: its folder, TRAINER__PLANS__CONFIGURATION.
        dataset: name of the dataset.
        trainer: its name.
        plans: name of its plans.
        configuration: such as ``3d_fullres``.
    """

    path: Path
    dataset: str
    trainer: str
    plans: str
    configuration: str


def find_model(dataset: str, trainer: str, plans: str, configuration: str) -> Model:
    """A trained model.

    Raises:
        UserError: there is none, the message lists those that are; or a name is a path.
    """
    for kind, name in (("a trainer", trainer), ("plans", plans), ("a configuration", configuration)):
        _refuse_path(kind, name)
    home = find_dataset(dataset, "nnUNet_results")
    path = home / f"{trainer}__{plans}__{configuration}"
    if not path.is_dir():
        there = sorted(found.name for found in home.glob("*__*__*") if found.is_dir())
        same = [name for name in there if name.startswith(f"{trainer}__")]
        if len(same) == 1:
            _, found_plans, found_configuration = same[0].rsplit("__", 2)
            hint = f" Did you mean -p {found_plans} -c {found_configuration}?"
        else:
            hint = ""
        raise UserError(f"{home} has no model {path.name}.{hint} There: {', '.join(there) or 'none'}.")
    return Model(path, home.name, trainer, plans, configuration)


def _refuse_path(kind: str, name: str) -> None:
    """A name with folders in it would be read, and in the copy written, somewhere else."""
    if not name or set(name) & set("/\\") or name.startswith("."):
        raise UserError(f"{name!r} is not the name of {kind}.")


def share(
    models: Sequence[Model],
    output: Path,
    *,
    folds: Sequence[str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
    plans_name: str | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Copy models so that stock nnU-Net predicts with them; the originals are only read.

    The copy holds what prediction needs: checkpoints, plans, dataset.json, fingerprint, progress.png, postprocessing. Our own
    state, paths of training images and validation results stay behind.

    Args:
        models: of one dataset.
        output: a .zip for nnUNetv2_install_pretrained_model_from_zip, else a folder laid out as nnUNet_results.
        folds: such as ``["0", "all"]``; None takes every fold that has the checkpoint.
        checkpoint: file name in each fold.
        plans_name: another name for the plans of the copy, lest it replace a model that the receiver has.
        say: told what is done.

    Raises:
        UserError: the output exists, the checkpoint is given as a path, a model is not complete, is not of this package, or its
            network is not nnU-Net's.
    """
    if output.exists():
        raise UserError(f"{output} exists. Nothing is written over; name another place with --output.")
    if not resolved(output).parent.is_dir():
        raise UserError(f"{resolved(output).parent} does not exist. Make it, or name another place with --output.")
    if plans_name is not None:
        checked_name(plans_name, "--plans-name", reserved=False)
    with tempfile.TemporaryDirectory(dir=resolved(output).parent, prefix=f".{output.name}.") as staged:
        for model in models:
            name = f"{STOCK}__{plans_name or model.plans}__{model.configuration}"
            _copy(model, Path(staged) / "all" / model.dataset / name, folds, checkpoint, plans_name, say)
        if output.suffix.lower() == ".zip":
            with whole(output) as unfinished:
                _zip(Path(staged) / "all", unfinished)
        else:
            (Path(staged) / "all").rename(output)
    return output


def _copy(
    model: Model,
    target: Path,
    folds: Sequence[str] | None,
    checkpoint: str,
    plans_name: str | None,
    say: Callable[[str], None],
) -> None:
    chosen = folds_of(model, folds, checkpoint)
    plans, dataset = (_read(model.path / f"{name}.json") for name in ("plans", "dataset"))
    _refuse_foreign_network(model, plans)
    target.mkdir(parents=True)
    for fold in chosen:
        source = model.path / f"fold_{fold}" / checkpoint
        content = _load(source)
        _refuse_what_is_not_ours(source, content)
        _refuse_what_does_not_fit(source, content, plans, dataset, model.configuration)
        del content[_STATE]
        content["trainer_name"] = STOCK
        arguments = content["init_args"]
        content["init_args"] = {**arguments, "dataset_json": _without_paths(arguments.get("dataset_json", {}))}
        if plans_name is not None and "plans" in arguments:
            content["init_args"]["plans"] = {**arguments["plans"], "plans_name": plans_name}
        (target / f"fold_{fold}").mkdir()
        _save(content, target / f"fold_{fold}" / checkpoint)
        _copy_if_there(source.with_name("progress.png"), target / f"fold_{fold}" / "progress.png")
        say(f"{model.path.name}, fold {fold}: trainer {STOCK}")
    write_json(target / "plans.json", plans if plans_name is None else {**plans, "plans_name": plans_name})
    write_json(target / "dataset.json", _without_paths(dataset))
    _copy_if_there(model.path / "dataset_fingerprint.json", target / "dataset_fingerprint.json")
    for found in model.path.glob("crossval_results_folds_*/postprocessing.*"):
        _copy_if_there(found, target / found.parent.name / found.name)
    previous = resolve(plans, model.configuration).get("previous_stage")
    if previous:
        say(f"{model.configuration} needs predictions of {previous}: share that, too (-c {previous} {model.configuration}).")


def folds_of(model: Model, wanted: Sequence[str] | None, checkpoint: str) -> list[str]:
    """The folds that a copy will have: those that are wanted, or every one that has the checkpoint.

    Raises:
        UserError: there is none, or a wanted one lacks it, or the checkpoint is a path.
    """
    _refuse_path("a checkpoint", checkpoint)
    there = sorted(path.parent.name.removeprefix("fold_") for path in model.path.glob(f"fold_*/{checkpoint}"))
    if not there:
        raise UserError(f"{model.path} has no fold with {checkpoint}. Train it to the end, or name another with -chk.")
    missing = [fold for fold in wanted or [] if fold not in there]
    if missing:
        raise UserError(
            f"{model.path} has no {checkpoint} in fold {', '.join(missing)}. Folds that have it: {', '.join(there)}."
        )
    return list(dict.fromkeys(wanted or there))


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no table.")
    return content


def _refuse_foreign_network(model: Model, plans: dict[str, Any]) -> None:
    configuration = resolve(plans, model.configuration)
    # Plans of nnU-Net before 2.4 know its own U-Nets only.
    network = configuration.get("architecture", {}).get("network_class_name", _STOCK_NETWORKS)
    if not network.startswith(_STOCK_NETWORKS):
        raise UserError(
            f"{model.path.name} has the network {network}, which stock nnU-Net does not have. Whoever is to predict with it "
            "needs this package (pip install 'nnunet-fess[networks]'); hand it over with nnUNetv2_export_model_to_zip."
        )


def _load(path: Path) -> dict[str, Any]:
    import torch  # here, because it takes seconds that --help should not

    try:
        content = torch.load(path, map_location="cpu", weights_only=False, mmap=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or not {"trainer_name", "network_weights", "init_args"} <= set(content):
        raise UserError(f"{path} is no checkpoint of nnU-Net.")
    return dict(content)


def _refuse_what_is_not_ours(path: Path, content: dict[str, Any]) -> None:
    if _STATE in content:
        return
    trainer = content["trainer_name"]
    if trainer == STOCK:
        raise UserError(f"{path} is of {STOCK} already: nnUNetv2_export_model_to_zip makes the zip.")
    raise UserError(
        f"{path} was made by {trainer}, which is not of this package. Whether stock nnU-Net has its network is not known here; "
        "nnUNetv2_export_model_to_zip makes a zip for people who have that trainer."
    )


def _refuse_what_does_not_fit(
    path: Path, content: dict[str, Any], plans: dict[str, Any], dataset: dict[str, Any], configuration: str
) -> None:
    """The promise, checked: the network that stock nnU-Net builds has tensors of these names and shapes."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    planned = manager.get_configuration(configuration)
    with torch.device("meta"):  # names and sizes without weights
        network = nnUNetTrainer.build_network_architecture(
            manager,
            planned,
            determine_num_input_channels(manager, planned, dataset),
            manager.get_label_manager(dataset).num_segmentation_heads,
            enable_deep_supervision=False,
        )
    stock = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in content["network_weights"].items()}
    if stock != found:
        name = next(name for name in {**stock, **found} if stock.get(name) != found.get(name))
        raise UserError(
            f"{path} does not fit the plans beside it: {name} is {found.get(name)}, and stock nnU-Net expects "
            f"{stock.get(name)}. Were the plans changed after the training?"
        )


def _without_paths(dataset: dict[str, Any]) -> dict[str, Any]:
    """dataset.json without the places of the training images, which the receiver does not have and need not know."""
    return {key: value for key, value in dataset.items() if key != "dataset"}


def _save(content: dict[str, Any], path: Path) -> None:
    import torch

    torch.save(content, path)


def _copy_if_there(source: Path, target: Path) -> None:
    if source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _zip(folder: Path, path: Path) -> None:
    # Weights do not compress.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
