"""`nnunet_fess preview`: see what a loss draws of your data before you train with it: contours, weights and other maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from nnunet_fess import arguments, preview
from nnunet_fess.folders import find_dataset


def main(argv: Sequence[str]) -> int:
    """Draw the picture and print where it lies."""
    parser = arguments.parser(
        "nnunet_fess preview",
        "Draw image, labels and the maps (contour, weights …) that a trainer's loss\n"
        "makes of them, for one preprocessed case: three planes, every scale of deep\n"
        "supervision. Choose the thickness by it (-tr nnUNetTrainerCWCD_3mm). Planes lie\n"
        "as radiologists read them: the patient's right is on the picture's left.",
    )
    parser.add_argument("dataset", help="id or name of a preprocessed dataset")
    parser.add_argument("case", nargs="?", help="identifier (default: the first case)")
    parser.add_argument("-c", "--configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("-p", "--plans", default="nnUNetPlans", help="default: %(default)s")
    parser.add_argument("-tr", "--trainer", default="nnUNetTrainerCWCD", help="default: %(default)s")
    parser.add_argument("--channel", metavar="NAME", help="name or number of the image's channel (default: the first)")
    parser.add_argument(
        "--structure",
        metavar="NAME",
        action="append",
        default=[],
        help="structure whose map is drawn, where each has its own; can be given several times (default: the largest "
        f"{preview.MOST_STRUCTURES} of the labels, all regions)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="picture, or a folder for it (default: preview_CASE_TRAINER.png)"
    )
    args = parser.parse_args(argv)

    trainer = preview.named(args.trainer)
    case = preview.load(
        find_dataset(args.dataset, "nnUNet_preprocessed"), args.plans, args.configuration, args.case, args.channel
    )
    output = preview.picture_file(args.output, f"preview_{case.name}_{args.trainer}.png")
    structures = preview.chosen_structures(case, args.structure)
    maps = [preview.loss_maps(trainer, case, scale, structures if args.structure else None) for scale in case.scales]
    hidden = preview.draw(case, maps, args.trainer, output)
    print(f"wrote {output}: {case.name}, spacing {' × '.join(f'{s:.3g}' for s in case.spacing)} mm, {args.trainer}")
    for scale, drawn in zip(case.scales, maps, strict=True):
        name = "full resolution" if all(s == 1 for s in scale) else "scale " + " × ".join(f"1/{round(1 / s)}" for s in scale)
        for what, values in drawn.items():
            print(f"  {name}: {what} {describe(values)}")
    for name, share in preview.rim_shares(trainer, case).items():
        much = "over 99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
        print(f"  {name}: {much} % of it is rim at full resolution" + (", no core is left" if share == 1 else ""))
    left = [name for name in case.masks if not any(what.endswith(f", {name}") for what in maps[0])]
    if 0 < len(left) < len(case.masks):
        print(f"  no map is drawn of: {', '.join(left)} (--structure NAME)")
    if hidden:
        print(f"  in none of the planes: {', '.join(hidden)}")
    return 0


def describe(values: Tensor) -> str:
    """A map in a few words."""
    numbers = values.float()
    if values.dtype.is_floating_point:
        low, high, mean = numbers.min(), numbers.max(), numbers.mean()
        least = f"{100 * float((numbers == low).float().mean()):.1f} % of the voxels have {low:.3g}"
        return f"is {low:.3g} everywhere" if low == high else f"from {low:.3g} to {high:.3g}, mean {mean:.3g}; {least}"
    return f"holds {100 * float(numbers.mean()):.1f} % of the voxels"
