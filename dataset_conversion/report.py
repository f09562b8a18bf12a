"""Provenance: what was converted from what, and changed how. No times and no machine: equal input, equal bytes."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from dataset_conversion.check import Checked
from dataset_conversion.errors import Problem
from dataset_conversion.facts import Dataset, Target

REPORT = "conversion_report.json"
NAMES = "original_names.json"
LIBRARIES = ("nnunet-fess", "numpy", "nibabel", "deflate", "isal")


def to_json(content: Any) -> bytes:
    """Readable JSON in the given key order: the order of regions matters to nnU-Net."""
    return (json.dumps(content, indent=2) + "\n").encode()  # ASCII: file names need not be text


def write_json(path: Path, content: Any) -> None:
    """Write `content` to `path`, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(to_json(content))
    part.replace(path)


def versions() -> dict[str, str]:
    """Versions of what the result depends on."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:  # run from a checkout that is not installed
            found[library] = "not installed"
    return found


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
        "versions": versions(),
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


def names(dataset: Dataset, target: Target, checked: Sequence[Checked]) -> dict[str, Any]:
    """Content of `original_names.json`: all that turns a prediction back into the challenge's file."""
    editions = {edition.name: edition for edition in dataset.editions}
    cases = {}
    for result in checked:
        scan = result.case.scan
        entry: dict[str, Any] = {"edition": scan.edition, "name": scan.name}
        entry["files"] = {role: file.source.relative for role, file in sorted(result.files.items())}
        if pattern := editions[scan.edition].vsd:
            found = {role: re.search(pattern, file.source.path.name, re.IGNORECASE) for role, file in result.files.items()}
            entry["vsd"] = {role: hit[1] for role, hit in sorted(found.items()) if hit}
        cases[scan.id] = entry
    return {
        "dataset": dataset.name,
        "labels": {
            edition.name: {str(value): target.collapse[harmonised] for value, harmonised in edition.labels.items()}
            for edition in dataset.editions
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
