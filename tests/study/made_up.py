"""A study that nobody has run: records, logs, predictions and scores as `study run` and `study evaluate` leave them."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_fess.study.metrics import case_metrics
from nnunet_fess.study.results import Case, Run, Step

STRUCTURES = {"edema": (1,), "core ä": (2,)}


def _ball(centre, radius, shape=(10, 48, 40)):
    axes = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), -1)
    return np.linalg.norm((axes - centre) * (3, 1, 1), axis=-1) < radius


def _write(path: Path, array) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1, 1, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def make(
    results: Path,
    trainers=("DiceCE", "CWCD_adaptive", "FESSDiceCE"),
    seeds=(0, 1, 2),
    sizes=("all", 8),
    cases=6,
    plans=("nnUNetPlans",),
):
    """Runs and scores; the volumes are in `results`, those of the dataset beside it."""
    generator = np.random.default_rng(0)
    raw = results.parent / "nnUNet_raw" / "Dataset999_Made"
    truths = {}
    for number in range(cases):
        name = f"case_ö{number}"
        centre = np.array([5, 24, 20]) + generator.normal(0, 2, 3) * (0.3, 1, 1)
        truth = np.zeros((10, 48, 40), np.uint8)
        truth[_ball(centre, 12)] = 1
        truth[_ball(centre, 6)] = 2
        truths[name] = truth
        _write(raw / "labelsTr" / f"{name}.nii.gz", truth)
        _write(
            raw / "imagesTr" / f"{name}_0000.nii.gz", (truth * 40.0 + generator.normal(100, 10, truth.shape)).astype(np.float32)
        )
    runs, scores = [], []
    for size, name_of_plans in itertools.product(sizes, plans):
        for place, trainer in enumerate(trainers):
            for seed in seeds:
                run_id = f"{trainer}-{f'{name_of_plans}-' if len(plans) > 1 else ''}seed{seed}-fold0-{size}"
                model = results / "models" / run_id
                _log(model, epochs=6, better=place * 0.01)
                predictions = results / "runs" / run_id / "predictions"
                run = Run(
                    run_id, "Dataset999_Made", "3d_fullres", name_of_plans,
                    trainer, f"nnUNetTrainer{trainer}_seed{seed}", seed, 0, size, 0,
                    nnunet_fold=0, training_cases=40 if size == "all" else size, status="finished",
                    steps=[Step("nnUNetv2_train …", "2026-01-01T00:00:00+00:00", 300.0 + 60 * place, 0, 900.0)],
                    model=model, predictions=predictions, truth=raw / "labelsTr", dataset_json=raw / "dataset.json",
                    host="machine",
                    versions={"nnunetv2": "2.8.1"},
                )  # fmt: skip
                runs.append(run)
                for name, truth in truths.items():
                    shift = generator.integers(0, 3 if size == "all" else 5) - (1 if place else 0)
                    predicted = np.roll(truth, max(int(shift), 0), 2)
                    if seed == 0:
                        _write(predictions / f"{name}.nii.gz", predicted)
                    values = case_metrics(predicted, truth, STRUCTURES, (3, 1, 1), ("dice", "hd95"))
                    if (trainer, seed, name) == (trainers[-1], 0, "case_ö0"):
                        values["core ä"] = {"dice": 0.0, "hd95": float("nan")}
                    scores += [Case.of(run, name, structure, row) for structure, row in values.items()]
    runs.append(
        dataclasses.replace(
            runs[0], id="broken", status="failed", reason="nnUNetv2_train ended with exit code 1", predictions=Path()
        )
    )
    return runs, scores


def _log(model: Path, epochs: int, better: float) -> None:
    model.mkdir(parents=True, exist_ok=True)
    lines = []
    for epoch in range(epochs):
        value = -0.2 - 0.1 * epoch - better
        lines += [
            f"2026-01-01 00:00:00.1: Epoch {epoch}",
            f"2026-01-01 00:00:00.1: train_loss {value:.4f}",
            f"2026-01-01 00:00:00.1: val_loss {value + 0.05:.4f}",
            f"2026-01-01 00:00:00.1: Pseudo dice [np.float32({-value:.4f}), np.float32({-value + 0.1:.4f})]",
        ]
    (model / "training_log_2026_1_1_00_00_00.txt").write_text("\n".join(lines))
    rows = ["epoch,spatial,sdl_contour", *(f"{epoch},{1 / (epoch + 1)},{0.3 / (epoch + 1)}" for epoch in range(epochs))]
    (model / "loss_components.csv").write_text("\n".join(rows))
