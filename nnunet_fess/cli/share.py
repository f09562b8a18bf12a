"""`nnunet_fess share`: a copy of a model that predicts without this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_fess import arguments, share


def main(argv: Sequence[str]) -> int:
    """Write the copy and print how it is installed."""
    parser = arguments.parser(
        "nnunet_fess share",
        "Copy a trained model so that people without this package predict with it: stock nnU-Net installs the zip\n"
        "and predicts the same voxels. The original is only read. The copy holds no paths of yours and no validation results.",
    )
    parser.add_argument("dataset", help="id or name, as in nnUNetv2_train")
    parser.add_argument("-tr", "--trainer", required=True, help="such as nnUNetTrainerFESS")
    parser.add_argument("-c", "--configurations", nargs="+", default=["3d_fullres"], help="default: 3d_fullres")
    parser.add_argument("-p", "--plans", default="nnUNetPlans", help="default: %(default)s")
    parser.add_argument("-f", "--folds", nargs="+", metavar="FOLD", help="default: every fold that has the checkpoint")
    parser.add_argument("-chk", "--checkpoint", default="checkpoint_final.pth", help="default: %(default)s")
    parser.add_argument(
        "-o", "--output", type=Path, help="a .zip, or a folder laid out as nnUNet_results (default: DATASET_TRAINER.zip)"
    )
    parser.add_argument(
        "--plans-name",
        metavar="NAME",
        help="name of the plans in the copy; whoever has a default model of this dataset keeps it if this is another name "
        "(default: unchanged)",
    )
    args = parser.parse_args(argv)

    models = [share.find_model(args.dataset, args.trainer, args.plans, name) for name in args.configurations]
    dataset, plans = models[0].dataset, args.plans_name or args.plans
    output = args.output or Path(f"{dataset}_{args.trainer}.zip")
    share.share(models, output, folds=args.folds, checkpoint=args.checkpoint, plans_name=args.plans_name)
    print(f"wrote {output}. Whoever gets it:")
    if output.suffix.lower() == ".zip":
        print(f"  nnUNetv2_install_pretrained_model_from_zip {output.name}")
    else:
        print("  copy what is in it into nnUNet_results")
    # nnU-Net predicts with folds 0 to 4 and the final checkpoint unless it is told.
    folds = share.folds_of(models[-1], args.folds, args.checkpoint)
    told = "" if folds == list("01234") else f" -f {' '.join(folds)}"
    told += "" if args.checkpoint == "checkpoint_final.pth" else f" -chk {args.checkpoint}"
    which = f"-d {dataset} -c {args.configurations[-1]} -p {plans} -tr {share.STOCK}{told}"
    print(f"  nnUNetv2_predict -i IMAGES -o OUTPUT {which}")
    print(f"It replaces a model {share.STOCK}__{plans}__{args.configurations[-1]} of that dataset; --plans-name avoids that.")
    return 0
