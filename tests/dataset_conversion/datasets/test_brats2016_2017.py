"""What the two editions really are: names with the published counts and overlap, and the published lists themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataset_conversion.datasets.brats2016_2017 import DATASET
from dataset_conversion.pipeline import _partition
from dataset_conversion.sources import Index, drop_overlap, index

# TCIA numbers that only BraTS 2016 has, and how many scans of a patient where there are several: as published.
ONLY_2016 = [
    *(120, 124, 153, 156, 157, 164, 170, 173, 178, 183, 193, 200, 217, 230, 258, 260, 354, 391, 392, 399, 404, 417, 424, 432),
    *(439, 447, 463, 468, 483),
]
SEVERAL = {153: 6, 171: 8, 198: 2, 222: 2, 226: 2, 230: 5, 260: 6, 280: 2, 290: 5, 309: 6, 314: 4, 370: 7, 374: 8, 377: 2}
SEVERAL |= {396: 7, 399: 10, 417: 2, 439: 4, 444: 5, 447: 3}
# The 2013 subjects are in both editions under other numbers.
NUMBERS_2013 = {
    "2016": {"HGG": [*range(1, 16), 22, 24, 25, 26, 27], "LGG": [1, 2, 4, 6, 8, 11, 12, 13, 14, 15]},
    "2017": {
        "HGG": [2, 3, 4, 5, 7, 10, 11, 12, 13, 14, 17, 18, 19, 20, 21, 22, 23, 25, 26, 27],
        "LGG": [0, 1, 6, 8, 9, 15, 16, 24, 28, 29],
    },
}


def cohort() -> dict:
    """Names with the published counts and overlap: 274 and 285 scans, 139 patients in both editions by number."""
    free = (number for number in range(500, 700))
    both_high = [number for number in SEVERAL if number not in ONLY_2016]
    both_high += [next(free) for _ in range(97 - len(both_high))]
    both_low, new_high, new_low = ([next(free) for _ in range(count)] for count in (42, 5, 23))
    low_only, high_only = [463, 468], [number for number in ONLY_2016 if number not in (463, 468)]
    earlier = {"HGG": both_high + high_only, "LGG": both_low + low_only}
    later = {"HGG": both_high + new_high, "LGG": both_low + new_low}
    names: dict = {"brats2016_train": [], "brats2017_train": [], "tcia_numbers_in_both": both_high + both_low}
    for grade in ("HGG", "LGG"):
        names["brats2016_train"] += [f"{grade}/brats_2013_pat{number:04d}_1" for number in NUMBERS_2013["2016"][grade]]
        names["brats2016_train"] += [
            f"{grade}/brats_tcia_pat{number}_{time:04d}"
            for number in earlier[grade]
            for time in range(1, 1 + SEVERAL.get(number, 1))
        ]
        names["brats2017_train"] += [f"{grade}/Brats17_2013_{number}_1" for number in NUMBERS_2013["2017"][grade]]
        names["brats2017_train"] += [f"{grade}/Brats17_TCIA_{number}_1" for number in later[grade]]
    letters = [f"A{first}{second}" for first in "ABCDEFGHI" for second in "ABCDEFGHIJ"][:88]
    names["brats2017_train"] += [f"HGG/Brats17_CBICA_{name}_1" for name in letters]
    return names


@pytest.fixture(scope="module", params=["synthetic", "published"])
def names(request: pytest.FixtureRequest) -> dict:
    if request.param == "synthetic":
        return cohort()
    shared = request.getfixturevalue("shared")
    return json.loads((shared / "data" / "brats16_17_names.json").read_text())


@pytest.fixture(scope="module")
def tree(names: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both downloads as empty files: the index looks at names only."""
    root = tmp_path_factory.mktemp("names")
    for number, scan in enumerate(names["brats2016_train"]):
        for modality in ("MR_Flair", "OT"):
            name = f"VSD.Brain.XX.O.{modality}.{number}"
            file = root / "BRATS2015_Training" / scan / name / f"{name}.mha"
            file.parent.mkdir(parents=True)
            file.touch()
    for scan in names["brats2017_train"]:
        folder = root / "Brats17TrainingData" / scan
        folder.mkdir(parents=True)
        for role in ("flair", "seg"):
            (folder / f"{folder.name}_{role}.nii.gz").touch()
    return root


@pytest.fixture
def found(tree: Path) -> Index:
    return index([tree], DATASET, ["flair"])


def test_559_scans_of_314_patients(found: Index) -> None:
    assert (len(found.cases), found.patients()) == (559, 314)


def test_complete_downloads_give_no_warning(found: Index) -> None:
    assert not found.problems
    assert not found.warnings


def test_shared_patients_are_those_of_the_published_list(found: Index, names: dict) -> None:
    editions: dict[str, set[str]] = {}
    for case in found.cases:
        editions.setdefault(case.group, set()).add(case.scan.edition)
    both = {int(group.split("_")[1]) for group, seen in editions.items() if len(seen) == 2 and group.startswith("TCIA")}
    assert both == set(names["tcia_numbers_in_both"])


def test_ids_are_unique_and_no_channel_number(found: Index) -> None:
    ids = [case.scan.id for case in found.cases]
    assert len(set(ids)) == 559
    assert not [id for id in ids if id[-4:].isdigit()]


@pytest.mark.parametrize(("edition", "scans"), [("2016", 285 + 58), ("2017", 274 + 28 + 88)])
def test_dropping_the_overlap_of_one_edition(found: Index, edition: str, scans: int) -> None:
    drop_overlap(found, DATASET.edition(edition))
    assert len(found.cases) == scans


@pytest.mark.parametrize("seed", range(3))
def test_splits_of_the_real_cohort(found: Index, seed: int) -> None:
    groups = {case.scan.id: case.group for case in found.cases}
    grades = {case.scan.id: case.scan.stratum for case in found.cases}
    test, splits = _partition(found.cases, 0.2, seed)
    sides = [test, *(set(fold["val"]) for fold in splits)]
    assert sorted(id for side in sides for id in side) == sorted(groups)
    for position, side in enumerate(sides):
        for other in sides[position + 1 :]:
            assert not {groups[id] for id in side} & {groups[id] for id in other}
        share = sum(grades[id] == "LGG" for id in side) / len(side)
        assert abs(share - 129 / 559) < 0.06
    assert abs(len(test) - 0.2 * 559) <= 10
    assert max(map(len, sides[1:])) - min(map(len, sides[1:])) <= 10
