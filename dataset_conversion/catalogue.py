"""The datasets there are converters for; a new one is a module and its name here."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from dataset_conversion.facts import Dataset

MODULES = (
    *("brats2016", "brats2017", "brats2016_2017", "abdomenct1k", "brats2021", "amos22"),
    *("brats2018", "brats2019", "brats2020", "brats2023"),
)


@cache
def datasets() -> dict[str, Dataset]:
    """Name on the command line → its facts."""
    return {name: import_module(f"dataset_conversion.{name}").DATASET for name in MODULES}
