"""The datasets there are converters for: each module here that states a `DATASET` is one; a new one is a module."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from dataset_conversion.facts import Dataset


@cache
def datasets() -> dict[str, Dataset]:
    """Name on the command line → its facts, in the order of their dataset ids."""
    modules = [import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    found = [module.DATASET for module in modules if hasattr(module, "DATASET")]
    return {dataset.name: dataset for dataset in sorted(found, key=lambda dataset: dataset.default_id)}
