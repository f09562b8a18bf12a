"""`nnunet_fess splits DATASET --sizes …`: folds that train on less data, for the question how much data a method needs.

Each repeat draws the patients of one fold's training set in an order of its own; the training set of size n is the
beginning of that order, so a smaller one is contained in each larger one. The validation set stays that of the fold.
Who is whose patient, our conversion report says, or the user (`patients`); otherwise each case is a patient of its own, and
names that look as if it were not are refused.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dataset_conversion.converted import load
from dataset_conversion.errors import ConversionError
from dataset_conversion.grouping import Group, Member, drawn, folds
from dataset_conversion.patients import Who, refuse_paired
from dataset_conversion.report import REPORT
from nnunet_fess import arguments, program
from nnunet_fess.files import write_json
from nnunet_fess.folders import expanded, folder, refuse_overlap

EPILOG = """Who is whose patient, the report of  nnunet_fess convert  says. For other datasets say it yourself where patients
have several cases; sizes count cases. A dataset without folds gets five first: nnU-Net's own, or with --patients or
--patient-regex such that keep patients whole.

  nnunet_fess splits 27 --sizes 60,14,6 --repeats 3 --patients patients.csv
  nnunet_fess splits 27 --sizes 60,14,6 --repeats 3 --patient-regex 'patient\\d+'"""

SPLITS = "splits_final.json"
Fold = dict[str, Any]  # "train" and "val" for nnU-Net, and "subset": how one of ours came about


class Place(NamedTuple):
    """Where nnU-Net has a dataset; at least one of the folders is there.

    Attributes:
        raw: its raw folder; None if nnUNet_raw is not set.
        preprocessed: its preprocessed folder; None if nnUNet_preprocessed is not set.
    """

    raw: Path | None
    preprocessed: Path | None

    @property
    def name(self) -> str:
        """Such as Dataset517_BraTS2017."""
        return next(folder.name for folder in self if folder)

    @property
    def report(self) -> Path | None:
        """What our converter recorded; None if it was another's."""
        return self.raw / REPORT if self.raw and (self.raw / REPORT).exists() else None

    @property
    def splits(self) -> list[Path]:
        """Files with its folds: the raw folder's first, because nnU-Net copies it."""
        return [folder / SPLITS for folder in self if folder and (folder / SPLITS).exists()]


def locate(dataset: str, raw: str | None) -> Place:
    """The dataset that `dataset` means: its number, its name, or the path of its raw or preprocessed folder.

    Args:
        dataset: which.
        raw: nnU-Net's raw folder; None for the environment's.

    Raises:
        ConversionError: there is none, or there are several.
    """
    roots = [
        _absolute(folder("nnUNet_raw", raw)) if raw or os.environ.get("nnUNet_raw") else None,
        _absolute(folder("nnUNet_preprocessed")) if os.environ.get("nnUNet_preprocessed") else None,
    ]
    name = dataset
    if not (dataset.isdecimal() or _NAME.fullmatch(dataset)):
        if not dataset.strip():
            raise ConversionError("the name of the dataset is empty. Give its number, its name or its folder")
        path = _absolute(expanded(dataset))
        name = path.name
        if not _NAME.fullmatch(name):
            raise ConversionError(f"{path} is no dataset of nnU-Net: its folder would be called DatasetNNN_NAME")
        if not path.is_dir():
            raise ConversionError(f"dataset {dataset}: no such folder. Give the dataset's number, name or folder")
        if path.parent != roots[1]:
            roots[0] = path.parent
    if not any(roots):
        raise ConversionError(
            "where are nnU-Net's folders? Set the environment variables nnUNet_raw and nnUNet_preprocessed, or give --raw DIR"
        )
    # a preprocessed dataset can be all there is on the machine that trains
    pattern = f"Dataset{int(name):03d}_*" if name.isdecimal() else name
    found = sorted({folder.name for root in roots if root for folder in root.glob(pattern) if folder.is_dir()})
    if len(found) != 1:
        searched = " and ".join(str(root) for root in roots if root)
        raise ConversionError(f"dataset {dataset}: one folder expected in {searched}, found {', '.join(found) or 'none'}")
    return Place(*(root / found[0] if root else None for root in roots))


_NAME = re.compile(r"Dataset\d{3}_[^/\\]+")


def _absolute(path: Path) -> Path:
    # without following links: nnU-Net goes by the name of the link
    return Path(os.path.abspath(path))  # noqa: PTH100


def nnunet_folds(ids: Iterable[str]) -> list[Fold]:
    """The five folds that nnU-Net makes at a dataset's first training, and writes down, where it has none.

    Equal to nnU-Net's `generate_crossval_split(sorted(ids), seed=12345, n_splits=5)`, hence to scikit-learn's shuffled
    `KFold`, but dataset_conversion needs neither.
    """
    ordered = sorted(ids)
    parts = np.array_split(np.random.RandomState(12345).permutation(len(ordered)), 5)
    validation = [set(part.tolist()) for part in parts]
    return [
        {
            "train": [id for index, id in enumerate(ordered) if index not in val],
            "val": [id for index, id in enumerate(ordered) if index in val],
        }
        for val in validation
    ]


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


class Wish(NamedTuple):
    """Training sets to draw from one fold.

    Attributes:
        fold: whose training set is cut.
        sizes: wanted numbers of cases.
        repeats: draws of each.
        seed: of the first draw.
    """

    fold: int
    sizes: Sequence[int]
    repeats: int = 1
    seed: int = 0


class Planned(NamedTuple):
    """A dataset's folds with what is wished for.

    Attributes:
        splits: all of them.
        wished: (fold index, repeat, wanted size, fold) of each one that was wished for.
        files: where they belong.
        appended: whether any of them is new.
    """

    splits: list[Fold]
    wished: list[tuple[int, int, int, Fold]]
    files: list[Path]
    appended: bool

    def write(self) -> None:
        """Write the folds, each file whole or not at all."""
        for file in self.files:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, self.splits)


def planned(place: Place, wishes: Iterable[Wish], who: Who | None = None) -> Planned:
    """The dataset's folds and behind them nested ones; one that is there already is not appended again. Writes nothing.

    A dataset that has no splits yet gets those that nnU-Net would make, or with `who` five that keep patients whole, in its
    preprocessed folder, where nnU-Net would write them.

    Args:
        place: the dataset.
        wishes: what to draw.
        who: whose the cases are; None for our report, or a patient per case.

    Raises:
        ConversionError: folds or case ids cannot be read, its preprocessed copy has other splits, or a size is out of range;
            a patient is on two sides of a fold, or seems to be and nothing says so.
    """
    splits, files = _present(place) if place.splits else _first(place, who)
    own, before = len(splits), 0 if not place.splits else len(splits)
    wishes = list(wishes)
    for fold, sizes, *_ in wishes:
        if sizes and 0 <= fold < own:
            _refuse_torn(place, splits[fold], fold, who)
    wished = []
    for fold, sizes, repeats, seed in wishes:
        if not 0 <= fold < own:
            raise ConversionError(f"--fold {fold}: {place.name} has folds 0…{own - 1}")
        members = _members(place, splits[fold]["train"], who) if sizes else []
        for repeat in range(repeats if sizes else 0):
            for size, train in sorted(nested(members, sizes, seed + repeat).items(), reverse=True):
                origin = {"of_fold": fold, "size": size, "repeat": repeat, "seed": seed}
                new = {"train": train, "val": splits[fold]["val"], "subset": origin}
                if new not in splits:
                    splits.append(new)
                wished.append((splits.index(new), repeat, size, new))
    # a kill between the two files leaves the preprocessed one short
    behind = any(len(load(file.parent, SPLITS)) < len(splits) for file in place.splits)
    return Planned(splits, wished, files, behind or len(splits) > before)


def append(
    place: Place, sizes: Sequence[int], repeats: int, seed: int, fold: int, who: Who | None = None
) -> list[tuple[int, int, int, Fold]]:
    """Append nested folds to the dataset's splits, see `planned`.

    Returns:
        (fold index, repeat, wanted size, fold) of each.
    """
    plan = planned(place, [Wish(fold, sizes, repeats, seed)], who)
    plan.write()
    return plan.wished


def _present(place: Place) -> tuple[list[Fold], list[Path]]:
    """The dataset's folds, and the files that are to have them."""
    copies: list[list[Fold]] = []
    for file in place.splits:
        copies.append(load(file.parent, SPLITS))
        if not (isinstance(copies[-1], list) and copies[-1] and all(_is_fold(fold) for fold in copies[-1])):
            raise ConversionError(f"{file}: a list of folds with train and val expected. Repair or delete it")
    # one may have more folds, if we were killed between writing the two
    if any(
        set(mine[part]) != set(its[part]) for mine, its in zip(copies[0], copies[-1], strict=False) for part in ("train", "val")
    ):
        raise ConversionError(
            f"{place.splits[1]} differs from {place.splits[0]}: nnU-Net would refuse one of them. Move the former away, "
            "or the preprocessed dataset, if the dataset was converted anew"
        )
    return max(copies, key=len), place.splits


def _is_fold(fold: Any) -> bool:
    return isinstance(fold, dict) and all(isinstance(fold.get(part), list) for part in ("train", "val"))


def _refuse_torn(place: Place, fold: Fold, number: int, who: Who | None) -> None:
    """Refuse a fold that has a patient on both sides, or seems to."""
    ids = [*fold["train"], *fold["val"]]
    if who is None:
        if not place.report:
            refuse_paired(ids, place.name)
        return
    group = {member.id: member.group for member in who.members(ids)}
    torn = sorted({group[id] for id in fold["train"]} & {group[id] for id in fold["val"]})
    if torn:
        raise ConversionError(
            f"--fold {number}: {len(torn)} patients are in its training and validation set, such as {torn[0]}. "
            f"{place.splits[0]} was made without regard to patients, as nnU-Net does. Move it away (and what was trained on "
            "it), and this command makes folds that keep patients whole"
        )


def _first(place: Place, who: Who | None) -> tuple[list[Fold], list[Path]]:
    """nnU-Net's folds, or such that keep patients whole, for a dataset that has none, and the file that is to have them."""
    if place.report:
        raise ConversionError(f"{place.report.parent} has no {SPLITS}, though our converter writes one: convert it again")
    if not place.preprocessed:
        raise ConversionError(
            f"{place.name} has no {SPLITS}, and no folder to write one to. Set the environment variable nnUNet_preprocessed"
        )
    if not place.preprocessed.parent.is_dir():
        raise ConversionError(
            f"nnUNet_preprocessed is {place.preprocessed.parent}, which does not exist. If it is right, make it:  "
            f"mkdir -p {shlex.quote(str(place.preprocessed.parent))}"
        )
    ids = _labelled(place)
    if len(ids) < 5:
        raise ConversionError(
            f"{place.name} has {len(ids)} cases with label; nnU-Net's five folds need 5. Write {SPLITS} yourself"
        )
    if who:
        return folds(who.members(sorted(ids)), 0), [place.preprocessed / SPLITS]
    refuse_paired(ids, place.name)
    return nnunet_folds(ids), [place.preprocessed / SPLITS]


def _labelled(place: Place) -> list[str]:
    """Ids of the cases that nnU-Net trains on, in no order."""
    folders = [(place.raw, "labelsTr"), (place.preprocessed, "gt_segmentations")]  # the latter is nnU-Net's copy of the former
    folder, labels = next((folder, labels) for folder, labels in folders if folder and folder.is_dir())
    if not (folder / "dataset.json").exists():
        raise ConversionError(f"{folder} has no dataset.json, which nnU-Net needs. Convert the dataset again")
    description = load(folder, "dataset.json")
    if "dataset" in description:  # images and labels that lie elsewhere
        return list(description["dataset"])
    if "file_ending" not in description:
        raise ConversionError(f'{folder / "dataset.json"}: no "file_ending", which nnU-Net needs. Convert the dataset again')
    ending = description["file_ending"]
    return [file.name.removesuffix(ending) for file in (folder / labels).glob(f"*{ending}")]


def _members(place: Place, ids: Sequence[str], who: Who | None) -> list[Member]:
    """The cases with their patients."""
    if who:
        return who.members(ids)
    if not place.report:
        return [Member(id, id, "") for id in ids]
    cases = load(place.report.parent, REPORT)["cases"]
    unknown = sorted(set(ids) - set(cases))
    if unknown:
        raise ConversionError(f"{place.report} lacks {', '.join(unknown[:3])}, which {SPLITS} names. Convert the dataset again")
    return [Member(id, cases[id]["group"], cases[id]["stratum"]) for id in ids]


def main(argv: Sequence[str] | None = None, prog: str = "nnunet_fess splits") -> int:
    """Append folds and print which is which; returns the exit code."""
    return program.run(prog, lambda: _run(_parse(argv, prog), prog))


def _parse(argv: Sequence[str] | None, prog: str) -> argparse.Namespace:
    parser = arguments.parser(prog, "Append folds that train on nested subsets of the cases, whole patients each.", EPILOG)
    parser.add_argument("dataset", metavar="DATASET", help="number, name or folder of a dataset of nnU-Net")
    parser.add_argument(
        "--sizes", type=arguments.whole_numbers(1), required=True, metavar="N,N,…", help="training cases, such as 300,200,100"
    )
    parser.add_argument("--repeats", type=arguments.whole_number(1), default=1, metavar="N", help="draws (%(default)s)")
    parser.add_argument(
        "--seed", type=arguments.whole_number(0), default=0, metavar="N", help="of the first draw (%(default)s)"
    )
    parser.add_argument(
        "--fold", type=arguments.whole_number(0), default=0, metavar="N", help="whose training set is cut (%(default)s)"
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--patients", type=Path, metavar="FILE.csv", help="columns case, patient and, if any, stratum")
    whose.add_argument("--patient-regex", metavar="REGEX", help="finds the patient in a case's name, such as 'patient\\d+'")
    parser.add_argument("--raw", metavar="DIR", help="nnU-Net's raw folder (the environment variable nnUNet_raw)")
    return parser.parse_args(argv)


def _run(chosen: argparse.Namespace, prog: str) -> int:
    refuse_overlap(chosen.raw)
    who = Who(chosen.patients, chosen.patient_regex) if chosen.patients or chosen.patient_regex else None
    place = locate(chosen.dataset, chosen.raw)
    added = append(place, chosen.sizes, chosen.repeats, chosen.seed, chosen.fold, who)
    if who:
        cases = [id for part in ("train", "val") for id in _present(place)[0][chosen.fold][part]]
        print(f"{len(cases)} cases of {len({member.group for member in who.members(cases)})} patients in fold {chosen.fold}")
    elif not place.report:
        print(
            f"{prog}: warning: {place.name} has no {REPORT}, so each case counts as a patient of its own. Where patients have "
            "several cases, one may then be in training and validation, and sizes count cases, not patients",
            file=sys.stderr,
        )
    print(*place.splits, sep="\n")
    print("fold  repeat  training cases  validation cases")
    for index, repeat, size, fold in added:
        missed = "" if len(fold["train"]) == size else f"  ({size} wanted; patients have several scans)"
        print(f"{index:>4}  {repeat:>6}  {len(fold['train']):>14}  {len(fold['val']):>16}{missed}")
    print(f"train with: nnUNetv2_train {int(place.name[7:10])} 3d_fullres FOLD -tr TRAINER")
    return 0


if __name__ == "__main__":
    sys.exit(main(prog="python -m dataset_conversion.splits"))
