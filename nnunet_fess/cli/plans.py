"""`nnunet_fess plans`: plans for another network or a smaller one, beside a dataset's own."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from nnunet_fess import arguments, plans
from nnunet_fess.networks.catalogue import NETWORKS


def main(argv: Sequence[str]) -> int:
    """Write the plans and print how to use them."""
    parser = arguments.parser(
        "nnunet_fess plans",
        "Write plans beside a dataset's own: for another patch or batch size, with fewer features, or with another\n"
        "network. The preprocessed data stay as they are and are shared. Every trainer takes them with -p.",
    )
    add_arguments(parser)
    parser.add_argument(
        "--cpu", action="store_true", help="cut down to what two CPU cores train in minutes: few features, batch 2"
    )
    parser.add_argument("-o", "--output", metavar="NAME", help="name of the new plans (default: PLANS, NETWORK, CPU joined)")
    return run(parser.parse_args(argv), parser)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What `plans` and `cpu-plans` have in common."""
    parser.add_argument("dataset", help="id or name, as in nnUNetv2_train")
    parser.add_argument("-c", "--configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("-p", "--plans", default="nnUNetPlans", help="plans to start from (default: %(default)s)")
    networks = "; ".join(f"{network.name}: {network.summary}" for network in NETWORKS.values())
    parser.add_argument("--network", choices=NETWORKS, help=f"default: the planned one. {networks}")
    parser.add_argument(
        "--features",
        type=arguments.whole_numbers(1),
        metavar="N,N,…",
        help="per stage, from the input (default: as planned; CPU: 12,24,48,96)",
    )
    parser.add_argument(
        "--batch-size", type=arguments.whole_number(1), metavar="N", help="patches per step (default: as planned; CPU: 2)"
    )
    parser.add_argument(
        "--patch-size",
        type=arguments.whole_numbers(1),
        metavar="N,N,N",
        help="voxels per axis, such as 48,48,48 (default: as planned)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace plans of this command, even if trainings were made with them"
    )


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Write what the arguments say."""
    network = args.network
    wish = plans.Wish(NETWORKS[network] if network else None, args.cpu, args.features, args.batch_size, args.patch_size)
    if wish.empty():
        parser.error("nothing would differ from the plans. Give --network, --cpu, --features, --batch-size or --patch-size.")
    name = plans.default_name(args.plans, wish) if args.output is None else args.output
    written = plans.write(args.dataset, args.configuration, wish, source=args.plans, name=name, overwrite=args.overwrite)
    shown = written.configuration
    kwargs = shown["architecture"]["arch_kwargs"]
    print(f"wrote {written.path}")
    print(
        f"{args.configuration}: {shown['architecture']['network_class_name'].rsplit('.', 1)[-1]}, patch {shown['patch_size']}, "
        f"batch {shown['batch_size']}, features {kwargs.get('features_per_stage') or kwargs.get('features')}"
    )
    if written.replaced:
        print(f"replaced: the {args.configuration} that was there, which had {written.replaced}")
    if written.kept:
        print(f"kept as they are: {', '.join(written.kept)}")
    if written.following:
        print(f"inherit from it, and change with it: {', '.join(written.following)}")
    if written.gigabytes is not None:
        size = f"{written.gigabytes:.1f}" if written.gigabytes >= 0.1 else "less than 0.1"
        print(f"GPU memory by nnU-Net's estimate: {size} GB")
    # nnU-Net takes no paths.
    dataset = args.dataset if args.dataset.isdecimal() else written.path.parent.name
    device = " -device cpu" if args.cpu else ""
    print(f"use it:  nnUNetv2_train {dataset} {args.configuration} 0 -p {name} -tr nnUNetTrainerFESS{device}")
    return 0
