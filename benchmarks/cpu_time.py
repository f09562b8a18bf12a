"""Times by the process's own CPU clock, taken in turn, and the JSON that tells them: for `components.py` and `distance.py`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nnunet_fess.machine import commit, processor


def medians(candidates: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median milliseconds of each, in an order that rotates; a first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    for _ in range(repeats + 1):
        for name in order:
            begin = time.process_time()
            candidates[name]()
            times[name].append(1e3 * (time.process_time() - begin))
        order.append(order.pop(0))
    return {name: round(statistics.median(values[1:]), 2) for name, values in times.items()}


def tell(options: argparse.Namespace, packages: Sequence[str], found: Mapping[str, Any]) -> None:
    """Print what was found with the options and the machine, and write it to `options.json`, if that is given."""
    result: dict[str, Any] = {
        "options": {key: value for key, value in vars(options).items() if key != "json"},
        "machine": {
            "processor": processor(),
            "load": os.getloadavg()[0],
            "versions": {name: version(name) for name in packages},
            "commit": commit(Path(__file__).parent),
        },
        **found,
    }
    text = json.dumps(result, indent=2, ensure_ascii=False)
    print(text)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(text + "\n", encoding="utf-8")
