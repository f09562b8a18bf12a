"""One cell, run: nnU-Net's commands train, validate and predict, and what they leave is looked at."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import nibabel
import numpy as np
from matrix.cells import Cell
from matrix.host import NUMBERS, PLANS, Host

from nnunet_fess.trainers.components import CSV_NAME

LABEL_VALUES = {0, 1, 2}  # of a prediction, whatever the kind of labels


def run_cell(host: Host, cell: Cell) -> None:
    """Train, validate and predict.

    Raises:
        Failed: a command did not end well.
        AssertionError: it did, but did not leave what it should.
    """
    configuration = cell.setting.configuration
    previous = ""
    models = []
    try:
        if configuration == "3d_cascade_fullres":
            # All cases are predicted for the next stage; five folds would do the same in five trainings.
            models.append(_train(host, cell, "3d_lowres", "all"))
            output = _predict(host, cell, "3d_lowres", "all")
            previous = f" -prev_stage_predictions {output}"
        models.append(_train(host, cell, configuration, "0"))
        _predict(host, cell, configuration, "0", previous)
    finally:
        for model in models:
            shutil.rmtree(model, ignore_errors=True)


def _which(cell: Cell) -> str:
    return f"-tr {cell.trainer} -p {PLANS[cell.setting.network]} -device cpu"


def _train(host: Host, cell: Cell, configuration: str, fold: str) -> Path:
    setting = cell.setting
    model = host.model(setting.labels, cell.trainer, setting.network, configuration)
    shutil.rmtree(model, ignore_errors=True)
    host.succeed(f"nnUNetv2_train {NUMBERS[setting.labels]} {configuration} {fold} {_which(cell)}")
    results = model / f"fold_{fold}"
    assert (results / "checkpoint_final.pth").is_file()
    summary = json.loads((results / "validation" / "summary.json").read_text())
    assert len(summary["metric_per_case"]) == (5 if fold == "all" else 1)
    with (results / CSV_NAME).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert all(math.isfinite(float(value)) for value in row.values()), row
    assert ("feature" in row) == (cell.feature is not None)
    assert {"region", "map"} <= row.keys() or cell.region is None or cell.map is None, row
    return model


def _predict(host: Host, cell: Cell, configuration: str, fold: str, more: str = "") -> Path:
    kind = cell.setting.labels
    output = host.model(kind, cell.trainer, cell.setting.network, configuration) / "predicted"
    images = host.raw(kind) / "imagesTs"
    host.succeed(
        f"nnUNetv2_predict -i {images} -o {output} -d {NUMBERS[kind]} -c {configuration} -f {fold} {_which(cell)} "
        f"-npp 0 -nps 0{more}"
    )
    prediction = nibabel.load(output / "test.nii.gz")
    assert prediction.shape == nibabel.load(images / "test_0000.nii.gz").shape
    assert set(np.unique(prediction.dataobj)) <= LABEL_VALUES
    return output
