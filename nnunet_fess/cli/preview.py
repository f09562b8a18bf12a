"""`nnunet_fess preview`: see the contour before you train with it, on a case of yours, at every scale of deep supervision."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnunet_fess.errors import UserError
from nnunet_fess.folders import find_dataset
from nnunet_fess.losses import SpatialLoss
from nnunet_fess.losses.target import Target, parse_target
from nnunet_fess.plugin import Host
from nnunet_fess.trainers.naming import TrainerName, parse
from nnunet_fess.trainers.terms import spatial_loss


def main(argv: Sequence[str]) -> int:
    """Draw the picture and print where it lies."""
    parser = argparse.ArgumentParser(
        prog="nnunet_fess preview",
        description="Draw image, labels and the contour (or weight map) that a trainer's loss sees, for one preprocessed case: "
        "three planes, every scale of deep supervision. Choose the thickness by it (-tr nnUNetTrainerCWCD_3mm).",
    )
    parser.add_argument("dataset", help="id or name of a preprocessed dataset")
    parser.add_argument("case", nargs="?", help="identifier (default: the first case)")
    parser.add_argument("-c", "--configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("-p", "--plans", default="nnUNetPlans", help="default: %(default)s")
    parser.add_argument("-tr", "--trainer", default="nnUNetTrainerCWCD", help="default: %(default)s")
    parser.add_argument("-o", "--output", type=Path, help="PNG file (default: preview_CASE_TRAINER.png)")
    args = parser.parse_args(argv)

    trainer = parse(args.trainer)
    case = _load(find_dataset(args.dataset, "nnUNet_preprocessed"), args.plans, args.configuration, args.case)
    output = args.output or Path(f"preview_{case.name}_{args.trainer}.png")
    if not os.access(output.resolve().parent, os.W_OK):
        raise UserError(f"{output.resolve().parent} cannot be written to. Name another place with --output.")
    maps = [weight_map(trainer, case, scale) for scale in case.scales]
    draw(case, maps, args.trainer, output)
    print(f"wrote {output}: {case.name}, spacing {' × '.join(f'{s:.3g}' for s in case.spacing)} mm, {args.trainer}")
    for scale, labels_map in zip(case.scales, maps, strict=True):
        name = "full resolution" if all(s == 1 for s in scale) else "scale " + " × ".join(f"1/{round(1 / s)}" for s in scale)
        share = float((labels_map > labels_map.min()).float().mean())
        print(f"  {name}: {100 * share:.1f} % of the voxels weigh more than the rest")
    for name, share in rim_shares(trainer, case).items():
        print(f"  {name}: {100 * share:.0f} % of it is rim at full resolution" + (", no core is left" if share == 1 else ""))
    return 0


@dataclass(frozen=True)
class Case:
    """A preprocessed case, as nnU-Net's loader would cut patches from it.

    Attributes:
        name: identifier.
        image: first channel (Z, Y, X).
        target: label map (B, 1, *spatial) or regions (B, C, *spatial); a 2-D configuration has the slices as batch.
        channels: of the network's output.
        structures: name of every foreground class, or of every region.
        ignore_label: of a label map.
        spacing: mm per spatial axis.
        scales: of deep supervision, full resolution first.
    """

    name: str
    image: np.ndarray
    target: Tensor
    channels: int
    structures: Sequence[str]
    ignore_label: int | None
    spacing: Sequence[float]
    scales: Sequence[Sequence[float]]


def weight_map(trainer: TrainerName, case: Case, scale: Sequence[float]) -> Tensor:
    """What the trainer's loss computes at one scale: the weight of every voxel, or the contour if it has no weights.

    Returns:
        (Z, Y, X) on that scale's grid; for regions the largest over the channels.
    """
    loss, truth = _at_scale(trainer, case, scale)
    maps = loss.maps(truth)
    weight = loss.voxel_weight(maps)
    found = weight if weight is not None else next(iter(maps.values()), None)
    if found is None:
        raise UserError(f"{trainer.name} weighs all voxels alike; there is no contour to show. Try nnUNetTrainerCWCD.")
    return _volume(found.float().amax(1))


def rim_shares(trainer: TrainerName, case: Case) -> dict[str, float]:
    """Structure → which share of its own voxels is contour at full resolution; empty for a loss without contour.

    Structures that the case does not have are left out.
    """
    loss, truth = _at_scale(trainer, case, case.scales[0])
    contour = loss.maps(truth).get("contour")
    if contour is None:
        return {}
    shares = {}
    for number, name in enumerate(case.structures):
        inside = truth.classes == number + 1 if truth.is_label_map else truth.classes[:, [number]].bool()
        rim = contour if truth.is_label_map else contour[:, [number]]
        if inside.any():
            shares[name] = float(rim[inside].float().mean())
    return shares


def _at_scale(trainer: TrainerName, case: Case, scale: Sequence[float]) -> tuple[SpatialLoss, Target]:
    """The trainer's loss, and the target that it sees at one scale."""
    from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform

    has_regions = len(case.structures) == case.channels
    host = Host(
        spacing=case.spacing,
        patch_size=case.target.shape[2:],
        classes=case.structures if has_regions else ["background", *case.structures],
        has_regions=has_regions,
        ignore_label=case.ignore_label,
    )
    loss = spatial_loss(trainer, host)
    if not isinstance(loss, SpatialLoss):
        raise UserError(f"{trainer.name} weighs all voxels alike; there is no contour to show. Try nnUNetTrainerCWCD.")
    # nnU-Net's own resampling of the target, so that the picture shows what the loss gets.
    downsample = DownsampleSegForDSTransform([tuple(scale)])
    target = torch.stack([downsample(segmentation=sample)["segmentation"][0] for sample in case.target])
    logits = torch.empty((len(target), case.channels, *target.shape[2:]), device="meta")  # only its shape is looked at
    return loss, parse_target(logits, target, case.ignore_label)


def draw(case: Case, maps: Sequence[Tensor], title: str, output: Path) -> None:
    """Three planes (a 2-D configuration: three slices) by image, labels and one map per scale."""
    from matplotlib.figure import Figure

    labels = _label_volume(case.target)
    planes = _planes(labels, flat=len(case.spacing) == 2)
    columns = 2 + len(maps)
    spacing = np.array([1.0, *case.spacing][-3:])
    sides = [np.delete(spacing * labels.shape, axis) for axis, _ in planes]
    heights = [max(0.25, height / width) for height, width in sides]
    figure = Figure(figsize=(2.6 * columns, 2.6 * sum(heights) + 0.7), layout="constrained")
    axes = figure.subplots(len(planes), columns, squeeze=False, height_ratios=heights)
    low, high = np.percentile(case.image, [1, 99])
    for row, (axis, position) in zip(axes, planes, strict=True):
        aspect = float(np.divide(*np.delete(spacing, axis)))
        seen = np.take(case.image, round(position * (case.image.shape[axis] - 1)), axis)
        truth = np.take(labels, round(position * (labels.shape[axis] - 1)), axis)
        row[0].imshow(seen, cmap="gray", vmin=low, vmax=high, aspect=aspect)
        row[1].imshow(truth, cmap="viridis", interpolation="nearest", aspect=aspect, vmin=0, vmax=max(1, labels.max()))
        for cell, weights in zip(row[2:], maps, strict=True):
            volume = weights.numpy()
            plane = np.take(volume, round(position * (volume.shape[axis] - 1)), axis)
            coarser = (np.delete(labels.shape, axis) / plane.shape).astype(float)
            cell.imshow(
                plane,
                cmap="magma",
                interpolation="nearest",
                aspect=aspect * coarser[0] / coarser[1],
                vmin=0,
                vmax=maps[0].max(),
            )
    names = ["image", "labels", *(" × ".join(str(size) for size in weights.shape) for weights in maps)]
    for cell, name in zip(axes[0], names, strict=True):
        cell.set_title(name, fontsize=9)
    for cell in axes.flat:
        cell.set_axis_off()
    figure.suptitle(f"{case.name}   {title}", fontsize=10)
    figure.savefig(output, dpi=110)


def _load(folder: Path, plans_name: str, configuration: str, name: str | None) -> Case:
    from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans_file = folder / f"{plans_name}.json"
    if not plans_file.is_file():
        raise UserError(f"{plans_file} does not exist. Run  nnUNetv2_plan_and_preprocess -d {folder.name}  first.")
    plans: dict[str, Any] = json.loads(plans_file.read_text())
    if configuration not in plans["configurations"]:
        raise UserError(
            f"{plans_file} has no configuration {configuration!r}; there are: {', '.join(plans['configurations'])}."
        )
    manager = PlansManager(plans)
    planned = manager.get_configuration(configuration)
    data = folder / planned.data_identifier
    dataset_class = infer_dataset_class(str(data)) if data.is_dir() and any(data.iterdir()) else None
    if dataset_class is None:
        raise UserError(f"{data} holds no cases. Run  nnUNetv2_preprocess -d {folder.name} -c {configuration}  first.")
    names = sorted(dataset_class.get_identifiers(str(data)))
    if name is not None and name not in names:
        raise UserError(f"{data} has no case {name!r}. There are {len(names)}: {', '.join(names[:5])}, …")
    chosen = name or names[0]
    image, segmentation, _, _ = dataset_class(str(data), [chosen]).load_case(chosen)
    labels = torch.from_numpy(
        np.asarray(segmentation[:1]).astype(np.int16).clip(0)
    )  # -1: outside the image, background in training
    label_manager = manager.get_label_manager(json.loads((folder / "dataset.json").read_text()))
    ignore = label_manager.ignore_label
    if label_manager.has_regions:
        regions = [*label_manager.foreground_regions, *([] if ignore is None else [ignore])]
        labels = ConvertSegmentationToRegionsTransform(regions, channel_in_seg=0)(segmentation=labels)["segmentation"]
    structures = {k: v for k, v in label_manager.label_dict.items() if k not in ("background", "ignore")}
    target = labels.transpose(0, 1) if len(planned.patch_size) == 2 else labels[None]
    steps = 1 / np.cumprod(np.vstack(planned.pool_op_kernel_sizes), axis=0)
    return Case(
        name=chosen,
        image=np.asarray(image[0]),
        target=target.contiguous(),
        channels=label_manager.num_segmentation_heads,
        structures=list(structures) if label_manager.has_regions else sorted(structures, key=structures.__getitem__),
        ignore_label=None if label_manager.has_regions else ignore,
        spacing=planned.spacing,
        scales=[tuple(step) for step in steps.tolist()][:-1],
    )


def _label_volume(target: Tensor) -> np.ndarray:
    """(Z, Y, X) for the eye: the labels, or the number of regions that a voxel is in; slices of a 2-D target are stacked."""
    return np.asarray(_volume(target.int().sum(1)))


def _volume(batch: Tensor) -> Tensor:
    """(Z, Y, X) from (1, Z, Y, X), or from the slices (Z, Y, X) of a 2-D configuration."""
    return batch[0] if batch.ndim == 4 else batch


def _planes(labels: np.ndarray, flat: bool) -> list[tuple[int, float]]:
    """Axis and relative position of three cuts through most of the foreground."""
    if flat:
        middle = _fullest(labels, 0)
        return [(0, middle * factor) for factor in (0.9, 1.0)] + [(0, min(1.0, middle * 1.1))]
    return [(axis, _fullest(labels, axis)) for axis in range(3)]


def _fullest(labels: np.ndarray, axis: int) -> float:
    counts = (labels > 0).sum(tuple(other for other in range(3) if other != axis))
    return int(counts.argmax()) / max(1, len(counts) - 1)
