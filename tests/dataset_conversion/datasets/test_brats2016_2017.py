"""The published name lists: what the two editions really are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataset_conversion.datasets.brats2016_2017 import DATASET
from dataset_conversion.pipeline import _partition
from dataset_conversion.sources import Index, drop_overlap, index

NAMES = Path(__file__).resolve().parents[4] / "shared" / "data" / "brats16_17_names.json"


@pytest.fixture(scope="module")
def names() -> dict:
    if not NAMES.exists():
        pytest.skip(f"{NAMES} is absent: it holds the published case names")
    return json.loads(NAMES.read_text())


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
