"""`nnunet_fess splits DATASET --sizes …`: folds that train on less data, for the question how much data a method needs.

Each repeat draws the patients of one fold's training set in an order of its own; the training set of size n is the
beginning of that order, so a smaller one is contained in each larger one. The validation set stays that of the fold.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dataset_conversion.converted import find, load
from dataset_conversion.errors import ConversionError
from dataset_conversion.grouping import Group, Member, drawn
from dataset_conversion.report import REPORT, write_json

SPLITS = "splits_final.json"
Fold = dict[str, Any]  # "train" and "val" for nnU-Net, and "subset": how one of ours came about


def nested(members: Sequence[Member], sizes: Sequence[int], seed: int) -> dict[int, list[str]]:
    """Size → ids: nested subsets of whole groups with the strata of `members`.

    A size that whole groups cannot reach exactly is missed by as little as the drawn order allows, never exceeded.

    Raises:
        ConversionError: a size is larger than the training set, or too small for its first group.
    """
    largest = max(sizes)
    if largest > len(members):
        raise ConversionError(f"--sizes {largest}: the training set has {len(members)} cases")
    # each group at its relative position in its own stratum: any beginning of the order has the strata's shares
    order: list[tuple[float, Group]] = []
    for groups in drawn(members, seed).values():
        order += [((position + 0.5) / len(groups), group) for position, group in enumerate(groups)]
    waiting = [group for _, group in sorted(order, key=lambda item: item[0])]
    chosen: list[str] = []
    subsets = {}
    for size in sorted(set(sizes)):
        left = []
        for group in waiting:
            if len(chosen) + len(group.ids) <= size:
                chosen += group.ids
            else:
                left.append(group)
        waiting = left
        if not chosen:
            raise ConversionError(f"--sizes {size}: no patient has so few scans")
        subsets[size] = sorted(chosen)
    return subsets


def append(folder: Path, sizes: Sequence[int], repeats: int, seed: int, fold: int) -> list[tuple[int, int, int, Fold]]:
    """Append nested folds to the dataset's splits; one that is there already is not appended again.

    Returns:
        (fold index, repeat, wanted size, fold) of each.

    Raises:
        ConversionError: the dataset is not ours, or its preprocessed copy has other splits.
    """
    cases = load(folder, REPORT)["cases"]
    splits: list[Fold] = load(folder, SPLITS)
    if not 0 <= fold < len(splits):
        raise ConversionError(f"--fold {fold}: {folder.name} has folds 0…{len(splits) - 1}")
    copies = [folder / SPLITS]
    preprocessed = Path(os.environ.get("nnUNet_preprocessed") or folder / "-") / folder.name / SPLITS
    if preprocessed.exists():
        other = json.loads(preprocessed.read_text())
        # one may have more folds, if we were killed between writing the two
        if any(mine["train"] != its["train"] or mine["val"] != its["val"] for mine, its in zip(splits, other, strict=False)):
            raise ConversionError(
                f"{preprocessed} differs from {folder / SPLITS}: nnU-Net would refuse one of them. Delete the former, "
                "or the preprocessed dataset, if the dataset was converted anew"
            )
        splits = max(splits, other, key=len)
        copies.append(preprocessed)
    members = [Member(id, cases[id]["group"], cases[id]["stratum"]) for id in splits[fold]["train"]]
    result = []
    for repeat in range(repeats):
        for size, train in sorted(nested(members, sizes, seed + repeat).items(), reverse=True):
            origin = {"of_fold": fold, "size": size, "repeat": repeat, "seed": seed}
            new = {"train": train, "val": splits[fold]["val"], "subset": origin}
            if new not in splits:
                splits.append(new)
            result.append((splits.index(new), repeat, size, new))
    for path in copies:
        write_json(path, splits)
    return result


def _sizes(text: str) -> list[int]:
    sizes = [int(size) for size in text.split(",")]
    if min(sizes) < 1:
        raise argparse.ArgumentTypeError("sizes are numbers of cases, at least 1")
    return sizes


def main(argv: Sequence[str] | None = None, prog: str = "nnunet_fess splits") -> int:
    """Append folds and print which is which; returns the exit code."""
    parser = argparse.ArgumentParser(prog=prog, description="Append folds that train on nested subsets of the cases.")
    parser.add_argument("dataset", metavar="DATASET", help="number, name or folder of a converted dataset")
    parser.add_argument("--sizes", type=_sizes, required=True, metavar="N,N,…", help="training cases, such as 300,200,100")
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="draws (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first draw (%(default)s)")
    parser.add_argument("--fold", type=int, default=0, metavar="N", help="whose training set is cut (%(default)s)")
    parser.add_argument("--raw", metavar="DIR", help="nnU-Net's raw folder (the environment variable nnUNet_raw)")
    chosen = parser.parse_args(argv)
    if chosen.repeats < 1:
        parser.error("--repeats must be at least 1")
    try:
        folder = find(chosen.dataset, chosen.raw)
        added = append(folder, chosen.sizes, chosen.repeats, chosen.seed, chosen.fold)
    except (ConversionError, OSError) as error:
        print(f"{prog}: {error}", file=sys.stderr)
        return 1
    print(f"{folder / SPLITS}\nfold  repeat  training cases  validation cases")
    for index, repeat, size, fold in added:
        missed = "" if len(fold["train"]) == size else f"  ({size} wanted; patients have several scans)"
        print(f"{index:>4}  {repeat:>6}  {len(fold['train']):>14}  {len(fold['val']):>16}{missed}")
    print(f"train with: nnUNetv2_train {int(folder.name[7:10])} 3d_fullres FOLD -tr TRAINER")
    return 0


if __name__ == "__main__":
    sys.exit(main(prog="python -m dataset_conversion.splits"))
