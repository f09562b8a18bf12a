"""`nnunet_fess restore PREDICTIONS OUTPUT -d DATASET`: predictions with the challenge's labels and file names."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from dataset_conversion import volumes
from dataset_conversion.converted import find, load
from dataset_conversion.errors import ConversionError, Problem, table
from dataset_conversion.report import NAMES
from nnunet_fess.streams import progress


def inverse(labels: dict[str, int]) -> dict[int, int]:
    """Written value → the download's value, the first of those that were merged into it."""
    result: dict[int, int] = {}
    for value, written in labels.items():
        result.setdefault(written, int(value))
    return result


def challenge_name(entry: dict[str, Any], text: str) -> str:
    """The file name under which the challenge wants the case.

    Raises:
        ConversionError: it needs the VSD id, and the download's file names had none.
    """
    if "vsd" not in entry:
        return f"{entry['name']}{volumes.ENDING}"
    # the evaluation server identifies a case by the id of its FLAIR file
    if "flair" not in entry["vsd"]:
        raise ConversionError(f"{entry['name']}: the VSD id of its FLAIR is not known, as the file's name had none")
    return f"VSD.{text}.{entry['vsd']['flair']}.mha"


def restore(predictions: Path, output: Path, dataset: Path, text: str) -> int:
    """Write every prediction of a folder as the challenge wants it; returns their number.

    Raises:
        ConversionError: something keeps one of them from being right; nothing is written then.
    """
    names = load(dataset, NAMES)
    if not predictions.is_dir():
        raise ConversionError(f"{predictions}: no such folder")
    files = sorted(predictions.glob(f"*{volumes.ENDING}"))
    if not files:
        raise ConversionError(f"{predictions}: no prediction ({volumes.ENDING}) there")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConversionError(f"{output} exists and is not empty; choose another folder")
    staging = output.with_name(f".{output.name}.partial")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    problems = []
    try:
        for path in progress(files, "restore", len(files), "prediction"):
            id = path.name.removesuffix(volumes.ENDING)
            try:
                if id not in names["cases"]:
                    raise ConversionError(f"is no case of {dataset.name}")
                entry = names["cases"][id]
                _restore_one(path, staging / challenge_name(entry, text), inverse(names["labels"][entry["edition"]]))
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
    parser = argparse.ArgumentParser(prog=prog, description="Give predictions the challenge's labels and file names.")
    parser.add_argument("predictions", type=Path, metavar="PREDICTIONS", help="folder that nnUNetv2_predict wrote")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="folder to make")
    parser.add_argument("-d", dest="dataset", required=True, metavar="DATASET", help="number, name or folder")
    parser.add_argument("--text", default="nnunet_fess", help="BraTS 2016: VSD.TEXT.ID.mha (%(default)s)")
    parser.add_argument("--raw", metavar="DIR", help="nnU-Net's raw folder (the environment variable nnUNet_raw)")
    chosen = parser.parse_args(argv)
    try:
        dataset = find(chosen.dataset, chosen.raw)
        number = restore(chosen.predictions, chosen.output, dataset, chosen.text)
    except (ConversionError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    names = load(dataset, NAMES)
    for edition, labels in names["labels"].items():
        lost = sorted(int(value) for value in labels if int(value) not in inverse(labels).values())
        if lost:
            print(f"note: {edition} labels {', '.join(map(str, lost))} were merged into others and cannot come back")
    print(f"wrote {number} files to {chosen.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main(prog="python -m dataset_conversion.restore"))
