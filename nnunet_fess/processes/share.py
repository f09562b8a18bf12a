"""What keeps a command to its share of a machine: the environment that nnU-Net, torch and their libraries listen to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

CPU_COUNT = Path(__file__).parent / "cpu_count"
_MOST_WORKERS = 12  # nnU-Net's own number of loaders


def of_cores(cores: int, present: Mapping[str, str]) -> dict[str, str]:
    """Variables that hold an nnU-Net command to a number of cores.

    On a CPU nnU-Net sets torch's threads to `cpu_count()`, whatever the variables of OpenMP say: two trainings side by side
    then wait for each other's threads most of the time (`benchmarks/study_share.py`).

    Args:
        cores: its part.
        present: variables of ours; numbers of workers that the user has set stay.
    """
    variables = {
        "PYTHON_CPU_COUNT": str(cores),
        # Workers are many processes already; the training itself asks for `cpu_count()` threads.
        **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
        # By default waiting threads burn their core; where other programs run too, that makes training several times slower.
        "OMP_WAIT_POLICY": "PASSIVE",
        "nnUNet_n_proc_DA": present.get("nnUNet_n_proc_DA") or str(max(1, min(cores - 1, _MOST_WORKERS))),
        "nnUNet_def_n_proc": present.get("nnUNet_def_n_proc") or str(max(1, min(cores, 8))),
    }
    if sys.version_info < (3, 13):
        variables["PYTHONPATH"] = os.pathsep.join(part for part in (str(CPU_COUNT), present.get("PYTHONPATH", "")) if part)
    return variables


def of_gpus(number: int, present: Mapping[str, str]) -> dict[str, str]:
    """Variables that show a command one GPU, counted among those that we see ourselves."""
    seen = [part.strip() for part in present.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    return {"CUDA_VISIBLE_DEVICES": seen[number] if number < len(seen) else str(number)}
