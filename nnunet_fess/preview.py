"""What a trainer's loss draws of a case: contours, weights and other maps, at every scale of deep supervision, as a picture."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from torch import Tensor, nn

from nnunet_fess.errors import UserError, did_you_mean
from nnunet_fess.files import read_json, whole
from nnunet_fess.folders import resolved
from nnunet_fess.losses import SpatialLoss
from nnunet_fess.losses.target import Target, parse_target
from nnunet_fess.pictures.colours import IGNORED, MARKED, distinct, paint
from nnunet_fess.pictures.planes import Geometry, choose, counts, geometry_of_case
from nnunet_fess.plans import read_plans
from nnunet_fess.plugin import Host
from nnunet_fess.trainers.naming import TrainerName, parse
from nnunet_fess.trainers.registry import registry
from nnunet_fess.trainers.terms import spatial_loss

_FLAT = "{} weighs all voxels alike; there is no contour to show. Try nnUNetTrainerCWCD."
_PANEL = 2.7  # inches, the width of one
MOST_STRUCTURES = 4  # that have a map each, unless they are asked for


@dataclass(frozen=True)
class Case:
    """A preprocessed case, as nnU-Net's loader would cut patches from it.

    Attributes:
        name: identifier.
        image: the channel that is shown (Z, Y, X).
        channel: its name.
        target: label map (B, 1, *spatial) or regions (B, C, *spatial); a 2-D configuration has the slices as batch.
        channels: of the network's output.
        structures: name of every foreground class, or of every region.
        ignore_label: of a label map.
        spacing: mm per spatial axis.
        scales: of deep supervision, full resolution first.
        geometry: how image and target lie in the patient.
    """

    name: str
    image: np.ndarray
    channel: str
    target: Tensor
    channels: int
    structures: Sequence[str]
    ignore_label: int | None
    spacing: Sequence[float]
    scales: Sequence[Sequence[float]]
    geometry: Geometry

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Structure → where it is (Z, Y, X), of those that the case has, the largest first."""
        if self.target.shape[1] > 1 or self.channels == 1:
            masks = {name: _volume(self.target[:, number] == 1) for number, name in enumerate(self.structures)}
        else:
            masks = {name: _volume(self.target[:, 0] == number) for number, name in enumerate(self.structures, start=1)}
        present = {name: np.asarray(mask) for name, mask in masks.items() if mask.any()}
        return dict(sorted(present.items(), key=lambda item: -int(item[1].sum())))

    @property
    def ignored(self) -> np.ndarray:
        """Where voxels do not count (Z, Y, X)."""
        if self.target.shape[1] > len(self.structures):
            return np.asarray(_volume(self.target[:, -1] == 1))
        return np.asarray(_volume(self.target[:, 0] == (-1 if self.ignore_label is None else self.ignore_label)))


def load(folder: Path, plans_name: str, configuration: str, name: str | None = None, channel: str | None = None) -> Case:
    """A case of a preprocessed dataset.

    Args:
        folder: the dataset's folder in `nnUNet_preprocessed`.
        plans_name: such as ``nnUNetPlans``.
        configuration: such as ``3d_fullres``.
        name: which case; None for the first.
        channel: name or number of the channel to show; None for the first.

    Raises:
        UserError: there is no such thing; the message says what there is.
    """
    from batchgeneratorsv2.transforms.utils.seg_to_regions import ConvertSegmentationToRegionsTransform
    from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans_file = folder / f"{plans_name}.json"
    plans = read_plans(folder, plans_name, folder.name)
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
    image, segmentation, _, properties = dataset_class(str(data), [chosen]).load_case(chosen)
    labels = torch.from_numpy(
        np.asarray(segmentation[:1]).astype(np.int16).clip(0)
    )  # -1: outside the image, background in training
    description = read_json(folder / "dataset.json")
    number, channel = _channel(description.get("channel_names", description.get("modality", {})), channel)
    label_manager = manager.get_label_manager(description)
    ignore = label_manager.ignore_label
    if label_manager.has_regions:
        regions = [*label_manager.foreground_regions, *([] if ignore is None else [ignore])]
        labels = ConvertSegmentationToRegionsTransform(regions, channel_in_seg=0)(segmentation=labels)["segmentation"]
    structures = {k: v for k, v in label_manager.label_dict.items() if k not in ("background", "ignore")}
    flat = len(planned.patch_size) == 2
    transpose = plans.get("transpose_forward", (0, 1, 2))
    between_slices = [properties["spacing"][transpose[0]]] if flat and "spacing" in properties else [1.0]
    spacing = [*between_slices, *planned.spacing][-3:]
    steps = 1 / np.cumprod(np.vstack(planned.pool_op_kernel_sizes), axis=0)
    return Case(
        name=chosen,
        image=np.asarray(image[number]),
        channel=channel,
        target=(labels.transpose(0, 1) if flat else labels[None]).contiguous(),
        channels=label_manager.num_segmentation_heads,
        structures=list(structures) if label_manager.has_regions else sorted(structures, key=structures.__getitem__),
        ignore_label=None if label_manager.has_regions else ignore,
        spacing=planned.spacing,
        scales=[tuple(step) for step in steps.tolist()][:-1],
        geometry=geometry_of_case(properties, transpose, spacing),
    )


def named(name: str) -> TrainerName:
    """Read a trainer's name.

    Raises:
        UserError: it is ill.
    """
    try:
        return parse(name, registry().catalogue)
    except ValueError as error:
        raise UserError(str(error)) from error


def chosen_structures(case: Case, wanted: Sequence[str] = ()) -> list[str]:
    """The structures that get a map each, in the labels' order: those wanted, or else the largest.

    Raises:
        UserError: one that the case does not have.
    """
    there = list(case.masks)
    for name in wanted:
        if name not in there:
            raise UserError(
                f"{case.name} has no structure {name!r}.{did_you_mean(_near(name, there))} There are: {', '.join(there)}."
            )
    return [name for name in case.structures if name in (wanted or there[:MOST_STRUCTURES])]


def loss_maps(
    trainer: TrainerName, case: Case, scale: Sequence[float], structures: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """What the trainer's loss draws of the target at one scale, by name.

    Args:
        trainer: whose loss.
        case: with the target.
        scale: of deep supervision.
        structures: that get a map each where the channels have maps of their own; None: see `chosen_structures`, and all
            regions.

    Returns:
        Each (Z, Y, X) on that scale's grid. Where the channels have maps of their own: of regions, and of labels if a map has
        two signs, inside and outside of a class, or none of the background, one for each structure, named after it; else that
        of the voxel's own class. A contour beside weights that say no more than it is left out.

    Raises:
        UserError: it draws nothing.
    """
    loss, truth = _at_scale(trainer, case, scale)
    maps = _maps(loss, truth)
    if not maps:
        raise UserError(_FLAT.format(trainer.name))
    weight = maps.get("weight")
    if weight is not None:
        maps = {name: drawn for name, drawn in maps.items() if drawn is weight or not _says_no_more(drawn, weight)}
    found: dict[str, Tensor] = {}
    own = chosen_structures(case) if structures is None else structures
    for name, drawn in maps.items():
        of_labels = truth.is_label_map and drawn.shape[1] == truth.num_classes
        if not truth.is_label_map and drawn.shape[1] == len(case.structures) > 1:
            regions = case.structures if structures is None else structures
            found |= {f"{name}, {region}": _volume(drawn[:, case.structures.index(region)]) for region in regions}
        elif of_labels and own and bool((drawn < 0).any()):
            found |= {f"{name}, {label}": _volume(drawn[:, 1 + case.structures.index(label)]) for label in own}
        elif truth.is_label_map and own and drawn.shape[1] == len(case.structures) > 1:
            found |= {f"{name}, {label}": _volume(drawn[:, case.structures.index(label)]) for label in own}
        elif of_labels:
            found[name] = _volume(drawn.gather(1, truth.classes.long())[:, 0])
        else:
            found[name] = _volume(
                drawn[:, 0] if drawn.shape[1] == 1 else drawn.any(1) if drawn.dtype == torch.bool else drawn.amax(1)
            )
    return found


def rim_shares(trainer: TrainerName, case: Case) -> dict[str, float]:
    """Structure → which share of its own voxels is contour at full resolution; empty for a loss without contour.

    Structures that the case does not have are left out.
    """
    loss, truth = _at_scale(trainer, case, case.scales[0])
    contour = _maps(loss, truth).get("contour")
    if contour is None:
        return {}
    shares = {}
    for number, name in enumerate(case.structures):
        inside = truth.classes == number + 1 if truth.is_label_map else truth.classes[:, [number]].bool()
        rim = contour if truth.is_label_map else contour[:, [number]]
        if inside.any():
            shares[name] = float(rim[inside].float().mean())
    return shares


def draw(case: Case, maps: Sequence[Mapping[str, Tensor]], title: str, output: Path) -> list[str]:
    """Write the picture: planes by image, labels, and each map at every scale.

    Args:
        case: what is drawn.
        maps: of each scale, full resolution first, see `loss_maps`.
        title: above the picture, beside the case's name.
        output: the file; its ending says the format.

    Returns:
        The structures that no plane shows.
    """
    geometry, masks = case.geometry, {name: case.geometry.turn(mask) for name, mask in case.masks.items()}
    image, ignored = geometry.turn(case.image), geometry.turn(case.ignored)
    colours = dict(zip(case.structures, distinct(len(case.structures)), strict=True))
    flat = len(case.spacing) == 2
    across = geometry.turned_axis(0)
    axes = [across] * min(3, image.shape[across]) if flat else [0, 1, 2]
    areas = counts(masks)
    planes = list(zip(axes, choose(areas, image.shape, axes), strict=True))
    hidden = [name for name, sums in areas.items() if not any(sums[axis][index] for axis, index in planes)]

    window = _window(masks.values(), image.shape, geometry.turned_spacing)
    sides = [[high - low for other, (low, high) in enumerate(window) if other != axis] for axis, _ in planes]
    heights = [height / width for height, width in sides]
    names = list(maps[0])
    rows = [(name, plane) for name in names for plane in planes]
    columns = 2 + len(maps)
    figure = Figure(
        figsize=(_PANEL * columns + 0.8, _PANEL * sum(heights) * len(names) + 0.2 * len(rows) + 1.0), layout="constrained"
    )
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights * len(names))
    shown = image[tuple(slice(*_indices(edges, mm)) for edges, mm in zip(window, geometry.turned_spacing, strict=True))]
    bright = np.percentile(shown, [0.5, 99.5])
    for block, name in enumerate(names):
        drawn = [geometry.turn(scale[name].numpy()) for scale in maps]
        of_block = grid[block * len(planes) : (block + 1) * len(planes)]
        binary = maps[0][name].dtype == torch.bool
        scale_of_colours = {} if binary else _colour_scale(drawn)
        for cells, (axis, index) in zip(of_block, planes, strict=True):
            cut = {structure: mask.take(index, axis) for structure, mask in masks.items()}
            for cell in cells:
                _frame(cell, geometry, axis, window)
            for cell in cells if binary else cells[:2]:
                _show(cell, image.take(index, axis), geometry, axis, image.shape, cmap="gray", vmin=bright[0], vmax=bright[1])
            painted = paint(cut[next(iter(cut))].shape if cut else image.take(0, axis).shape, {}, 0)
            for structure, mask in cut.items():
                painted[mask] = to_rgba(colours[structure], 0.55)
            painted[ignored.take(index, axis)] = to_rgba(IGNORED, 0.75)
            _show(cells[1], painted, geometry, axis, image.shape)
            for cell, volume in zip(cells[2:], drawn, strict=True):
                plane = volume.take((2 * index + 1) * volume.shape[axis] // (2 * image.shape[axis]), axis)
                if binary:
                    _show(cell, paint(plane.shape, {MARKED: plane}, 0.6), geometry, axis, image.shape)
                else:
                    last = _show(cell, plane, geometry, axis, image.shape, **scale_of_colours)
                for structure, mask in cut.items():
                    _outline(cell, mask, geometry, axis, colours[structure])
            stored = geometry.stored_index(axis, index, image.shape[axis])
            cells[0].set_title(f"{geometry.name(axis)}, slice {stored}", fontsize=8, loc="left")
        for cell, volume in zip(of_block[0][2:], drawn, strict=True):
            size = " × ".join(map(str, volume.shape))
            cell.set_title(f"{name}, {size}" + (" (full)" if volume.shape == image.shape else ""), fontsize=8)
        of_block[0][1].set_title("labels", fontsize=8)
        if not binary:
            figure.colorbar(last, ax=list(of_block[:, -1]), label=name, fraction=0.06, aspect=30, shrink=0.8)
    smallest = list(masks)[-1] if len(masks) > 1 else None
    entries = [Patch(color=colours[n], label=n + _remark(n, n in masks, hidden, smallest)) for n in case.structures]
    if ignored.any():
        entries.append(Patch(color=IGNORED, label="ignored"))
    if any(scale.dtype == torch.bool for scale in maps[0].values()):
        entries.append(Patch(color=MARKED, label=", ".join(n for n in names if maps[0][n].dtype == torch.bool)))
    figure.legend(
        handles=entries, loc="outside lower center", ncols=min(len(entries), 2 * columns // 2 + 1), fontsize=8, frameon=False
    )
    seen = "R: the patient's right" if geometry.directions is not None else "the file states no orientation; shown as it lies"
    spacing = " × ".join(f"{size:.3g}" for size in case.spacing)
    figure.suptitle(f"{case.name}   {title}\nimage: channel {case.channel}; spacing {spacing} mm; {seen}", fontsize=9)
    with whole(output) as unfinished:
        figure.savefig(unfinished, dpi=120, format=output.suffix[1:].lower())
    return hidden


def picture_file(output: Path | None, default: str) -> Path:
    """Where the picture goes: `output`, in it if it is a folder, as PNG if it says no format.

    Raises:
        UserError: a format that is none of a picture, or a place that cannot be written to.
    """
    output = Path(default) if output is None else output / default if output.is_dir() else output
    known = Figure().canvas.get_supported_filetypes()
    if not output.suffix or (output.suffix[1:].lower() not in known and output.suffix[1:].isdigit()):
        output = output.with_name(output.name + ".png")
    if output.suffix[1:].lower() not in known:
        raise UserError(f"--output {output}: no picture is called *{output.suffix}. Use one of: .{', .'.join(sorted(known))}")
    if output.is_dir():
        raise UserError(f"--output {output} is a folder. Name a file.")
    if not os.access(resolved(output).parent, os.W_OK):
        raise UserError(f"{resolved(output).parent} cannot be written to. Name another place with --output.")
    return output


def _near(name: str, there: Sequence[str]) -> list[str]:
    lower = {other.lower(): other for other in there}
    return [lower[found] for found in difflib.get_close_matches(name.lower(), lower, n=2)]


def _channel(names: Mapping[str, str], wanted: str | None) -> tuple[int, str]:
    """Number and name of a channel."""
    numbered = {int(number): name for number, name in names.items()}
    if wanted is None:
        return 0, numbered.get(0, "0")
    for number, name in numbered.items():
        if wanted.lower() in (name.lower(), str(number)):
            return number, name
    there = ", ".join(f"{number} {name}" for number, name in numbered.items())
    raise UserError(f"the dataset has no channel {wanted!r}. There are: {there}.")


def _at_scale(trainer: TrainerName, case: Case, scale: Sequence[float]) -> tuple[nn.Module, Target]:
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
    # nnU-Net's own resampling of the target, so that the picture shows what the loss gets.
    downsample = DownsampleSegForDSTransform([tuple(scale)])
    target = torch.stack([downsample(segmentation=sample)["segmentation"][0] for sample in case.target])
    logits = torch.empty((len(target), case.channels, *target.shape[2:]), device="meta")  # only its shape is looked at
    return spatial_loss(trainer, host), parse_target(logits, target, case.ignore_label)


@torch.no_grad()
def _maps(loss: nn.Module, truth: Target) -> dict[str, Tensor]:
    """The maps of the loss, or where it has none of its own, of its parts; a foreign loss need only have the method."""
    draws = getattr(loss, "maps", None)
    found: dict[str, Tensor] = dict(draws(truth)) if callable(draws) else {}
    if found:
        weight = loss.voxel_weight(found) if isinstance(loss, SpatialLoss) else None
        return found if weight is None else {**found, "weight": weight}
    for part in loss.children():
        for name, values in _maps(part, truth).items():
            twice = name in found and not torch.equal(found[name], values)
            found[f"{name} of {type(part).__name__}" if twice else name] = values
    return found


def _says_no_more(flags: Tensor, weight: Tensor) -> bool:
    """Whether yes and no are two weights, each the same everywhere."""
    if flags.dtype != torch.bool or flags.shape != weight.shape:
        return False
    return all(part.numel() == 0 or bool((part == part[0]).all()) for part in (weight[flags], weight[~flags]))


def _volume(batch: Tensor) -> Tensor:
    """(Z, Y, X) from (1, Z, Y, X), or from the slices (Z, Y, X) of a 2-D configuration."""
    return batch[0] if batch.ndim == 4 else batch


def _colour_scale(volumes: Sequence[np.ndarray]) -> dict[str, Any]:
    low, high = min(float(v.min()) for v in volumes), max(float(v.max()) for v in volumes)
    if low < 0 < high:
        high = max(-low, high)
        return {"cmap": "RdBu_r", "vmin": -high, "vmax": high}
    return {"cmap": "magma", "vmin": low, "vmax": high if high > low else low + 1}


Window = list[tuple[float, float]]


def _window(masks: Any, shape: Sequence[int], spacing: Sequence[float]) -> Window:
    """Mm from and to on each axis: the structures with what is around them, all of it if that is not much more."""
    window = []
    for axis, (size, mm) in enumerate(zip(shape, spacing, strict=True)):
        filled = [index for mask in masks for index in np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis})))[[0, -1]]]
        full = (0.0, size * mm)
        if not filled:
            window.append(full)
            continue
        low, high = min(filled) * mm, (max(filled) + 1) * mm
        margin = max(15.0, 0.3 * (high - low), 4 * mm)
        low, high = max(0.0, low - margin), min(full[1], high + margin)
        window.append((low, high) if high - low < 0.75 * full[1] else full)
    return window


def _indices(edges: tuple[float, float], mm: float) -> tuple[int, int]:
    return int(edges[0] / mm), max(int(edges[0] / mm) + 1, round(edges[1] / mm))


def _frame(cell: Axes, geometry: Geometry, axis: int, window: Window) -> None:
    """An empty panel in mm with the directions at its edges."""
    (top, bottom), (left, right) = (edges for other, edges in enumerate(window) if other != axis)
    cell.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal", facecolor="black")
    places = ((0.03, 0.5), (0.97, 0.5), (0.5, 0.97), (0.5, 0.03))
    aligned = (("left", "center"), ("right", "center"), ("center", "top"), ("center", "bottom"))
    letters = geometry.edges(axis)
    if (bottom - top) / (right - left) < 0.2:  # too thin for four
        letters = (*letters[:2], "", "")
    for letter, (x, y), (across, up) in zip(letters, places, aligned, strict=True):
        effect = [withStroke(linewidth=1.5, foreground="black")]
        cell.text(x, y, letter, transform=cell.transAxes, ha=across, va=up, color="white", fontsize=8, path_effects=effect)


def _show(cell: Axes, plane: np.ndarray, geometry: Geometry, axis: int, full: Sequence[int], **options: Any) -> Any:
    """Lay a plane over the field of view of the full resolution, whatever its own."""
    height, width = (
        size * mm for other, (size, mm) in enumerate(zip(full, geometry.turned_spacing, strict=True)) if other != axis
    )
    limits = cell.get_xlim(), cell.get_ylim()
    shown = cell.imshow(plane, extent=(0, width, height, 0), interpolation="nearest", **options)
    cell.set(xlim=limits[0], ylim=limits[1])
    return shown


def _outline(cell: Axes, mask: np.ndarray, geometry: Geometry, axis: int, colour: str) -> None:
    if not mask.any():
        return
    padded = np.pad(mask, 1)
    rows, columns = (mm for other, mm in enumerate(geometry.turned_spacing) if other != axis)
    y, x = (np.arange(padded.shape[0]) - 0.5) * rows, (np.arange(padded.shape[1]) - 0.5) * columns
    cell.contour(x, y, padded, levels=[0.5], colors=[colour], linewidths=0.9)


def _remark(name: str, present: bool, hidden: Sequence[str], smallest: str | None) -> str:
    if not present:
        return " (not in this case)"
    return " (not in these planes)" if name in hidden else " (smallest)" if name == smallest else ""
