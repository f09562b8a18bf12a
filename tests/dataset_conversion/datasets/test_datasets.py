"""A dataset is one module of facts: found by itself, complete, and named nowhere else."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

import pytest

import dataset_conversion
from dataset_conversion import datasets as room
from dataset_conversion.datasets import datasets
from dataset_conversion.facts import LABEL

PACKAGE = Path(dataset_conversion.__file__).parent
WORDS = re.compile(r"brats|vsd|abdomenct|amos|\b[hl]gg\b|flair|\bcbica\b", re.IGNORECASE)


@pytest.mark.parametrize(
    "file",
    [file for file in sorted(PACKAGE.rglob("*.py")) if file.parent.name != "datasets"],
    ids=lambda file: str(file.relative_to(PACKAGE)),
)
def test_generic_code_knows_no_dataset(file: Path) -> None:
    """`Dataset517_BraTS2017` is nnU-Net's kind of name, and may serve as an example of one."""
    text = file.read_text("utf-8").replace("Dataset517_BraTS2017", "")
    assert not WORDS.findall(text)


def test_a_new_module_is_a_new_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = (PACKAGE / "datasets" / "amos22.py").read_text("utf-8")
    new = facts.replace('name="amos22"', 'name="mine"').replace("default_id=521", "default_id=900")
    (tmp_path / "mine.py").write_text(new, "utf-8")
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    assert list(datasets.__wrapped__()) == [*datasets(), "mine"]


def test_ids_and_titles_are_those_of_one_dataset() -> None:
    for values in ([d.default_id for d in datasets().values()], [d.title for d in datasets().values()]):
        assert len(set(values)) == len(values)


@pytest.mark.parametrize("name", datasets())
def test_facts_fit_together(name: str) -> None:
    dataset = datasets()[name]
    assert dataset.reference in dataset.channels
    for target in dataset.targets:
        written = {value for values in dataset.label_maps(target).values() for value in values.values()}
        assert written == set(range(max(written) + 1))  # nnU-Net wants consecutive labels
    for edition in dataset.editions:
        example = re.split(r"[ ,]", edition.example)[0].replace("…/", "")
        found = edition.match(PurePath("/download") / example)
        assert found is not None, f"the example {example} is no file of {edition.title}"
        assert found[1] in (*dataset.channels, LABEL)
        assert found[0].edition == edition.name
