"""`nnunet_fess restore PREDICTIONS OUTPUT -d DATASET`: predictions with the challenge's labels and file names."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from dataset_conversion import volumes
from dataset_conversion.converted import load
from dataset_conversion.datasets import datasets
from dataset_conversion.errors import ConversionError, Problem, table
from dataset_conversion.facts import own_name
from dataset_conversion.places import refuse_unwritable
from dataset_conversion.report import NAMES
from nnunet_fess import arguments, program
from nnunet_fess.folders import find_dataset
from nnunet_fess.streams import progress


def inverse(labels: dict[str, int]) -> dict[int, int]:
    """Written value → the download's value, the first of those that were merged into it."""
    result: dict[int, int] = {}
    for value, written in labels.items():
        result.setdefault(written, int(value))
    return result


def restore(predictions: Path, output: Path, dataset: Path, text: str) -> int:
    """Write every prediction of a folder as the challenge wants it; returns their number.

    Raises:
        ConversionError: something keeps one of them from being right; nothing is written then.
    """
    names = load(dataset, NAMES)
    if not predictions.is_dir():
        raise ConversionError(f"{predictions}: {'is a file; give a folder' if predictions.exists() else 'no such folder'}")
    files = sorted(predictions.glob(f"*{volumes.ENDING}"))
    if not files:
        raise ConversionError(f"{predictions}: no prediction ({volumes.ENDING}) there")
    if os.path.lexists(output) and (not output.is_dir() or any(output.iterdir())):
        found = "is not empty" if output.is_dir() else "is no folder"
        raise ConversionError(f"{output} exists and {found}; choose another folder")
    refuse_unwritable(output.absolute().parent)
    staging = output.with_name(f".{output.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    problems = []
    known = datasets().get(names["dataset"])
    try:
        for path in progress(files, "restore", len(files), "prediction"):
            id = path.name.removesuffix(volumes.ENDING)
            try:
                if id not in names["cases"]:
                    raise ConversionError(f"is no case of {dataset.name}")
                entry = names["cases"][id]
                upload = known.edition(entry["edition"]).upload if known else own_name
                _restore_one(path, staging / upload(entry, text), inverse(names["labels"][entry["edition"]]))
            except ConversionError as error:
                problems.append(Problem(id, path.name, str(error)))
        if problems:
            print(table(problems), file=sys.stderr)
            raise ConversionError(f"{len(problems)} of {len(files)} predictions cannot be restored; nothing was written")
        if output.exists():
            output.rmdir()
        staging.rename(output)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return len(files)


def _restore_one(source: Path, target: Path, values: dict[int, int]) -> None:
    volume = volumes.read(source)
    found = np.unique(volume.voxels)
    unknown = [value for value in found.tolist() if value not in values]
    if unknown:
        raise ConversionError(f"has label {unknown[0]:g}; {', '.join(map(str, sorted(values)))} expected")
    if target.exists():
        raise ConversionError(f"would get the name of another case, {target.name}")
    table = np.zeros(max(values) + 1, np.uint8)
    for written, value in values.items():
        table[written] = value
    restored = table[volume.voxels.astype(np.uint8)]
    if target.suffix == ".mha":
        image = sitk.GetImageFromArray(restored.reshape(volume.shape[::-1]))
        image.CopyInformation(sitk.ReadImage(str(source)))
        sitk.WriteImage(image, str(target), useCompression=True)
    else:
        target.write_bytes(volumes.encode(volumes.label_header(nib.Nifti1Header.from_header(volume.header)), restored))


def main(argv: Sequence[str] | None = None, prog: str = "nnunet_fess restore") -> int:
    """Restore a folder of predictions; returns the exit code."""
    return program.run(prog, lambda: _run(_parse(argv, prog)))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = arguments.parser(prog, "Give predictions the challenge's labels and file names.")
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="folder that nnUNetv2_predict wrote")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder to make")
    parser.add_argument("-d", dest="dataset", required=True, metavar="DATASET", help="number, name or folder")
    parser.add_argument("--text", default="nnunet_fess", help="in file names of challenges that want one (%(default)s)")
    parser.add_argument("--raw", metavar="DIR", help="nnU-Net's raw folder (the environment variable nnUNet_raw)")
    return parser.parse_args(argv)


def _run(chosen: argparse.Namespace) -> int:
    dataset = find_dataset(chosen.dataset, "nnUNet_raw", chosen.raw)
    number = restore(chosen.predictions, chosen.output, dataset, chosen.text)
    names = load(dataset, NAMES)
    for edition, labels in names["labels"].items():
        lost = sorted(int(value) for value in labels if int(value) not in inverse(labels).values())
        if lost:
            print(f"note: {edition} labels {', '.join(map(str, lost))} were merged into others and cannot come back")
    print(f"wrote {number} files to {chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(prog="python -m dataset_conversion.restore"))
