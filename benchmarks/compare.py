r"""Losses compared on a dataset: Dice and HD95 per structure, mean ± standard deviation over runs.

    python benchmarks/compare.py 504 DiceCE CWCD CWCD_adaptive --runs 0:0 1:0 2:0 -p nnUNetPlansCPU \
        --protocol 12epochs_100iters_10valiters_seed{seed}_bf16_noMirroring [--json results.json]

It trains nothing: it reads the validation that ends each `nnUNetv2_train DATASET … -tr nnUNetTrainer<LOSS>_<protocol>` in
`nnUNet_results`. A run is SEED:FOLD. Dice is nnU-Net's own (`validation/summary.json`). HD95 is the larger of the two
directed 95th percentiles of the distance between the surfaces, in mm, by MONAI; it is not defined for a case where truth
or prediction has nothing of the structure: such a case is left out and counted. What has not been trained is named.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk
import torch

with warnings.catch_warnings():  # MONAI warns of its own deprecations
    warnings.simplefilter("ignore")
    from monai.metrics import compute_hausdorff_distance

from nnunet_fess import machine


class Measured(NamedTuple):
    """One run, means over the validation cases, by structure."""

    dice: dict[str, float]
    hd95: dict[str, float]
    undefined: dict[str, int]
    cases: int


def hd95(truth: np.ndarray, prediction: np.ndarray, spacing: tuple[float, ...]) -> float:
    """HD95 of two bool arrays in the unit of the spacing; NaN if one of them is empty."""
    if not (truth.any() and prediction.any()):
        return float("nan")
    pair = [torch.from_numpy(array)[None, None].float() for array in (prediction, truth)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing))


def measure(validation: Path, structures: dict[str, int | list[int]]) -> Measured:
    """Dice and HD95 of one nnU-Net validation folder.

    Args:
        validation: `fold_X/validation` of a trainer.
        structures: name → label, or the labels that make up a region.
    """
    cases = json.loads((validation / "summary.json").read_text())["metric_per_case"]
    dice: dict[str, list[float]] = {name: [] for name in structures}
    distance: dict[str, list[float]] = {name: [] for name in structures}
    for case in cases:
        truth, prediction = (sitk.ReadImage(case[f"{role}_file"]) for role in ("reference", "prediction"))
        voxels = [sitk.GetArrayViewFromImage(image) for image in (truth, prediction)]
        for name, label in structures.items():
            key = str(tuple(label) if isinstance(label, list) else label)  # as nnU-Net writes it
            dice[name].append(case["metrics"][key]["Dice"])
            there, predicted = (np.isin(array, label) for array in voxels)
            distance[name].append(hd95(there, predicted, truth.GetSpacing()[::-1]))
    return Measured(
        {name: float(np.nanmean(values)) for name, values in dice.items()},  # as nnU-Net: empty against empty does not count
        {name: float(np.nanmean(values)) if not np.isnan(values).all() else float("nan") for name, values in distance.items()},
        {name: int(np.isnan(values).sum()) for name, values in distance.items()},
        len(cases),
    )


def recorded(run: Measured) -> dict[str, Any]:
    """The run as JSON has it: null where HD95 is not defined."""
    defined = {name: None if np.isnan(value) else value for name, value in run.hd95.items()}
    return run._asdict() | {"hd95": defined}


def spread(values: list[float], digits: int) -> str:
    """Mean ± standard deviation of those values that are defined, as text; of one value the value."""
    defined = [value for value in values if not np.isnan(value)]
    if not defined:
        return "–"
    mean = f"{statistics.fmean(defined):.{digits}f}"
    deviation = f" ± {statistics.stdev(defined):.{digits}f}" if len(defined) > 1 else ""
    return mean + deviation + (f" ({len(defined)} of {len(values)})" if len(defined) < len(values) else "")


def table(found: dict[str, list[Measured]]) -> str:
    """Markdown: a row per loss."""
    structures = list(next(iter(found.values()))[0].dice)
    columns = ["loss", "runs", *(f"{name} Dice" for name in structures), "mean Dice", *(f"{name} HD95" for name in structures)]
    lines = [columns, ["---"] * len(columns)]
    for loss, runs in found.items():
        means = [statistics.fmean(run.dice.values()) for run in runs]
        dice = [spread([run.dice[name] for run in runs], 3) for name in structures]
        far = [spread([run.hd95[name] for run in runs], 2) for name in structures]
        lines.append([f"`{loss}`", str(len(runs)), *dice, spread(means, 3), *far])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> int:
    """Print the table; write the runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=int, help="id")
    parser.add_argument("losses", nargs="+", metavar="LOSS", help="as in a trainer's name, with its options: CWCD_adaptive")
    parser.add_argument("--protocol", required=True, help="the options that all share, {seed} where the seed stands")
    parser.add_argument("--runs", nargs="+", default=["0:0"], metavar="SEED:FOLD", help="default: %(default)s")
    parser.add_argument("-c", "--configuration", default="3d_fullres", help="default: %(default)s")
    parser.add_argument("-p", "--plans", default="nnUNetPlans", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="file to write the runs to")
    args = parser.parse_args()
    results = Path(os.environ.get("nnUNet_results") or parser.error("the environment variable nnUNet_results is not set"))
    folder = next(results.glob(f"Dataset{args.dataset:03d}_*"), None)
    if folder is None:
        parser.error(f"{results} holds no training of a dataset {args.dataset}; nnUNetv2_train writes there")
    found: dict[str, list[Measured]] = {}
    record: dict[str, Any] = {
        "machine": machine.processor(),
        "cores": os.cpu_count(),
        "commit": machine.commit(Path(__file__).parent),
        "dataset": folder.name,
    }
    record["versions"] = {name: version(name) for name in ("nnunetv2", "torch", "monai", "nnunet-fess")}
    record |= {"protocol": args.protocol, "plans": args.plans, "configuration": args.configuration, "runs": {}}
    for loss in args.losses:
        for run in args.runs:
            seed, fold = run.split(":")
            trainer = f"nnUNetTrainer{loss}_{args.protocol.format(seed=seed)}"
            model = folder / f"{trainer}__{args.plans}__{args.configuration}"
            validation = model / f"fold_{fold}" / "validation"
            if not (validation / "summary.json").is_file():
                print(f"not trained: {trainer}, fold {fold}", file=sys.stderr)
                continue
            labels = json.loads((model / "dataset.json").read_text())["labels"]
            structures = {name.lower(): label for name, label in labels.items() if name not in ("background", "ignore")}
            found.setdefault(loss, []).append(measure(validation, structures))
            record["runs"][f"{loss} {run}"] = recorded(found[loss][-1])
    if not found:
        print("none of these runs has been trained and validated", file=sys.stderr)
        return 1
    print(table(found))
    for loss, runs in found.items():
        if lost := sum(sum(run.undefined.values()) for run in runs):
            print(f"{loss}: HD95 is not defined for {lost} structures of all runs' cases", file=sys.stderr)
    if args.json:
        args.json.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
