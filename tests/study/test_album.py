"""Figures of a report show what they say they show."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from study.made_up import make

from nnunet_fess.study.album import _overlay


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    root = tmp_path_factory.mktemp("album")
    runs, cases = make(root / "study", ("DiceCE", "CWCD"), (0,), ("all",), cases=1)
    return root / "nnUNet_raw", [run for run in runs if run.status == "finished"], cases


def first_panel(study):
    _, runs, cases = study
    panel = _overlay(cases[0].case, runs, cases, "dice").axes[0]
    return panel.get_title(), np.ptp(panel.images[0].get_array())


def validated(study):
    """The study with `test: validation`: labels and dataset.json are nnU-Net's copies among the preprocessed data."""
    raw, runs, cases = study
    copies = raw.parent / "nnUNet_preprocessed" / "Dataset999_Made"
    copies.mkdir(parents=True, exist_ok=True)
    if not (copies / "gt_segmentations").exists():
        (raw / "Dataset999_Made" / "labelsTr").rename(copies / "gt_segmentations")
    changes = {"truth": copies / "gt_segmentations", "dataset_json": copies / "dataset.json"}
    return raw, [dataclasses.replace(run, **changes) for run in runs], cases


def test_an_overlay_shows_the_image(study, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    title, contrast = first_panel(study)
    assert title == "image and truth" and contrast > 50


def test_of_validation_cases_too(study, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", str(study[0]))
    title, contrast = first_panel(validated(study))
    assert title == "image and truth" and contrast > 50


def test_without_an_image_it_says_so(study, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert first_panel(validated(study)) == ("truth; the image is not here", 0)
