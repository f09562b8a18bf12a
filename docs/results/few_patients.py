"""Folds of ACDC for the few-patient studies: what was searched on never meets what the table is made of.

    python docs/results/few_patients.py 27      # writes splits_final.json of a preprocessed dataset that has none yet

The patients of each of ACDC's five diagnoses are numbered in a row (001-020, 021-040, …). Of every ten patients of a
diagnosis, as they are sorted, one trains and two validate fold 1, the pilot's and the search's; from three fold 0, the table's,
draws its training patients, and four are its test patients. With 50 patients: 5 and 10, 15 and 20. Fold 2, of the study that
asks the table's question again, is fold 0 with the two sides exchanged: who trained there is tested here.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from nnunet_fess import files, folders
from nnunet_fess.errors import UserError
from nnunet_fess.study.evaluate import segmentations

_DIAGNOSIS = 20  # patients in a row
# Of the ten, in their order: which list of which fold.
_ROLE = (("train", 1), ("val", 1), ("val", 1), *[("train", 0)] * 3, *[("val", 0)] * 4)
_NAME = re.compile(r"patient([0-9]{3})_.+")


def folds(cases: Sequence[str]) -> list[dict[str, list[str]]]:
    """Fold 0, fold 1 and fold 2.

    Raises:
        UserError: a case that is not called as ACDC's are.
    """
    found = [{"train": list[str](), "val": list[str]()} for _ in range(2)]
    of_diagnosis: dict[int, list[str]] = {}
    for case in sorted(cases):
        match = _NAME.fullmatch(case)
        if match is None:
            raise UserError(f"{case} is no case of ACDC. Expected names such as patient001_ED.")
        patients = of_diagnosis.setdefault((int(match[1]) - 1) // _DIAGNOSIS, [])
        if match[1] not in patients:
            patients.append(match[1])
        kind, fold = _ROLE[patients.index(match[1]) % len(_ROLE)]
        found[fold][kind].append(case)
    return [*found, {"train": found[0]["val"], "val": found[0]["train"]}]


def main() -> int:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="number, name or folder")
    preprocessed = folders.find_dataset(parser.parse_args().dataset, "nnUNet_preprocessed")
    file = preprocessed / "splits_final.json"
    if file.exists():
        raise UserError(f"{file} is there. Move it away, if no training needs it any more.")
    found = folds(list(segmentations(preprocessed / "gt_segmentations")))
    files.write_json(file, found)
    print(f"wrote {file}: " + ", ".join(f"fold {n} {len(f['train'])} + {len(f['val'])} cases" for n, f in enumerate(found)))
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except UserError as error:
        raise SystemExit(str(error)) from None
