"""Makes the pictures of README and docs again, from a finished demo and from docs/results/.

    nnunet_fess demo --workdir demo
    python docs/pictures/make.py demo

Nothing in them is of a patient: the demo's images are a phantom's, and the results are numbers.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from nnunet_fess.cli.main import main as nnunet_fess
from nnunet_fess.demo import overlay, pipeline
from nnunet_fess.study.results import read_runs

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "contour-hippocampus.earlier.json"
TRAINER = "nnUNetTrainerCWCD_3mm"
# Of these losses in the results; CE and SDL have not converged in that budget, see docs/results/contour-hippocampus.md.
LOSSES = ("DiceCE", "Dice", "CWCD", "CWCD_adaptive")


def main() -> int:
    """Write overlay.png, preview.png and results.png beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="folder of a finished demo")
    demo = parser.parse_args().demo.resolve()
    draw_overlay(demo)
    draw_preview(demo)
    draw_results()
    return 0


def draw_overlay(demo: Path) -> None:
    """The demo's own picture of its first high-grade case."""
    (dataset,) = (demo / "nnUNet_raw").glob("Dataset*")
    case = sorted(path.name.removesuffix(".nii.gz") for path in (dataset / "labelsTs").glob("*HGG.nii.gz"))[0]
    predictions = {run.trainer: run.predictions for run in read_runs(demo / pipeline.STUDY)}
    overlay.draw_case(dataset, case, predictions, HERE / "overlay.png")


def draw_preview(demo: Path) -> None:
    """`nnunet_fess preview` on the phantom."""
    os.environ.update({f"nnUNet_{name}": str(demo / f"nnUNet_{name}") for name in ("raw", "preprocessed", "results")})
    code = nnunet_fess(["preview", "517", "-p", "nnUNetPlansCPU", "-tr", TRAINER, "-o", str(HERE / "preview.png")])
    if code:
        raise SystemExit(code)


def draw_results() -> None:
    """Every run's Dice, a dot each, of the contour-weighted losses on the hippocampus."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    runs = json.loads(RESULTS.read_text())["runs"]["all"]
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), sharex=True, sharey=True, layout="constrained")
    for axis, part in zip(axes, ("anterior", "posterior"), strict=True):
        for row, loss in enumerate(LOSSES):
            values = [found["dice"][part] for run, found in runs.items() if run.split()[0] == loss]
            axis.scatter(values, [row] * len(values), s=28, color="#0072B2" if loss.startswith("CWCD") else "#555555")
        axis.set(title=part, xlabel="Dice, one dot per seed", yticks=range(len(LOSSES)), yticklabels=LOSSES)
        axis.grid(axis="x", alpha=0.4)
        axis.margins(y=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle("Hippocampus, 160 training and 40 validation cases, 1200 iterations, 3 seeds", fontsize=10)
    figure.savefig(HERE / "results.png", dpi=110)


if __name__ == "__main__":
    raise SystemExit(main())
