"""Provenance: what was converted from what, and changed how. No times and no machine: equal input, equal bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from dataset_conversion.check import Checked
from dataset_conversion.errors import Problem
from dataset_conversion.facts import Dataset, Target
from nnunet_fess.machine import versions

REPORT = "conversion_report.json"
NAMES = "original_names.json"
LIBRARIES = ("nnunet-fess", "numpy", "nibabel", "deflate", "isal")


def report(
    dataset: Dataset,
    options: dict[str, Any],
    checked: Sequence[Checked],
    test: set[str],
    warnings: Sequence[str],
    skipped: Sequence[Problem],
    same: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """Content of `conversion_report.json`.

    Args:
        dataset: its facts.
        options: those that decide the result.
        checked: the cases that were converted.
        test: ids of the cases in imagesTs.
        warnings: about the download as a whole.
        skipped: problems of the cases that `--on-error skip` left out.
        same: ids of cases with the same voxels, in one list per set of such cases.
    """
    return {
        "dataset": dataset.name,
        "options": options,
        "versions": versions(LIBRARIES),
        "warnings": list(warnings),
        "skipped": [vars(problem) for problem in sorted(skipped)],
        "same_voxels": [list(ids) for ids in same],
        "cases": {
            result.case.scan.id: {
                "patient": result.case.scan.patient,
                "group": result.case.group,
                "stratum": result.case.scan.stratum,
                "subset": "test" if result.case.scan.id in test else "training",
                "files": {
                    role: {
                        "root": file.source.root,
                        "source": file.source.relative,
                        "size": file.size,
                        "crc32": f"{file.crc32:08x}",
                    }
                    | ({"sha256": file.sha256} if file.sha256 else {})
                    for role, file in sorted(result.files.items())
                },
                "changes": result.changes,
                "warnings": result.warnings,
            }
            for result in checked
        },
    }


def names(dataset: Dataset, target: str, checked: Sequence[Checked]) -> dict[str, Any]:
    """Content of `original_names.json`: all that turns a prediction back into the challenge's file."""
    cases = {}
    for result in checked:
        scan = result.case.scan
        entry: dict[str, Any] = {"edition": scan.edition, "name": scan.name}
        entry["files"] = {role: file.source.relative for role, file in sorted(result.files.items())}
        if numbers := dataset.edition(scan.edition).numbers:
            names = {role: file.source.path.name for role, file in result.files.items()}
            found = {role: re.search(numbers.pattern, name, re.IGNORECASE) for role, name in names.items()}
            entry[numbers.key] = {role: hit[1] for role, hit in sorted(found.items()) if hit}
        cases[scan.id] = entry
    return {
        "dataset": dataset.name,
        "labels": {
            edition: {str(value): written for value, written in values.items()}
            for edition, values in dataset.label_maps(target).items()
        },
        "cases": cases,
    }


def dataset_json(
    dataset: Dataset,
    target: Target,
    channels: Sequence[str],
    training: Sequence[str],
    ending: str,
    images: dict[str, list[str]] | None,
) -> dict[str, Any]:
    """Content of `dataset.json`; `images` (id → files) becomes nnU-Net's `dataset` key, for images left where they are."""
    content: dict[str, Any] = {
        "channel_names": {str(number): dataset.channels[role] for number, role in enumerate(channels)},
        "labels": dict(target.labels),
        "numTraining": len(training),
        "file_ending": ending,
    }
    if target.regions_class_order:
        content["regions_class_order"] = target.regions_class_order
    if dataset.reader:
        content["overwrite_image_reader_writer"] = dataset.reader
    content |= {"name": dataset.title, **dataset.about, "converted_by": "nnunet_fess convert"}
    if images is not None:
        content["dataset"] = {id: {"images": images[id], "label": f"labelsTr/{id}{ending}"} for id in training}
    return content
