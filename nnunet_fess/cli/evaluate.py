"""`nnunet_fess evaluate PREDICTIONS TRUTH`: overlap and surface distances of any two folders of segmentations."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_fess import arguments, files
from nnunet_fess.errors import UserError
from nnunet_fess.machine import cores
from nnunet_fess.study import evaluate as folders
from nnunet_fess.study.metrics import METRICS, OVERLAP, SURFACE


def main(argv: Sequence[str]) -> int:
    """Print the means and write what was asked for."""
    parser = arguments.parser(
        "nnunet_fess evaluate",
        "Compare two folders of segmentations case by case. Lengths are in mm; a mean\nover fewer cases than there are says "
        "over how many, since a distance to a\nstructure that is not there is not defined.",
    )
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="folder of segmentations")
    parser.add_argument("truth", type=Path, metavar="TRUTH", help="folder of true ones, same file names")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="dataset.json",
        help="names of labels or regions (default: the one nnUNetv2_predict leaves in PREDICTIONS, or the one beside TRUTH; "
        "without any, each label above 0 by its number)",
    )
    parser.add_argument(
        "--metrics",
        default=",".join((*OVERLAP, *SURFACE)),
        metavar="A,B",
        help=f"of {', '.join(METRICS)} (default: %(default)s)",
    )
    parser.add_argument("--nsd-tolerance-mm", type=float, default=1.0, metavar="MM", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write every case and the means")
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write a row per case and structure")
    parser.add_argument("-np", type=int, default=cores(), metavar="N", help="cases at a time (default: %(default)s)")
    args = parser.parse_args(argv)
    metrics = [name.strip().lower() for name in args.metrics.split(",") if name.strip()]
    if not metrics or (unknown := [name for name in metrics if name not in METRICS]):
        raise UserError(f"--metrics: found {', '.join(unknown) if metrics else 'none'}, there are {', '.join(METRICS)}.")
    if not 0 <= args.nsd_tolerance_mm < float("inf"):
        raise UserError(f"--nsd-tolerance-mm must be 0 or more. Found: {args.nsd_tolerance_mm}")
    if args.np < 1:
        raise UserError(f"-np must be 1 or more. Found: {args.np}")
    for out in (args.json, args.csv):
        if out is not None and out.is_dir():
            raise UserError(f"{out} is a folder; give the name of a file.")
        if out is not None and not out.absolute().parent.is_dir():
            raise UserError(f"{out} cannot be written: the folder {out.absolute().parent} does not exist.")
    pairs, warnings = folders.pair_up(args.predictions, args.truth)
    options = {"metrics": tuple(dict.fromkeys(metrics)), "nsd_tolerance_mm": args.nsd_tolerance_mm}
    labels = args.labels or folders.dataset_json_of(args.predictions, args.truth)
    question = folders.question_of(labels, **options) if labels else folders.question_without_labels(pairs, **options)
    evaluated = folders.evaluate(pairs, question, min(args.np, len(pairs)))
    evaluated.warnings = warnings + evaluated.warnings
    for warning in evaluated.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if args.json:
        files.write_json(args.json, folders.to_json(evaluated))
    if args.csv:
        files.write_text(args.csv, folders.to_csv(evaluated))
    print(f"{len(pairs)} cases, labels of {labels or 'the true files'}\n{folders.table(evaluated)}")
    return 0
