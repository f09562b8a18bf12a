"""PYTHON_CPU_COUNT for Pythons before 3.13, which have it built in: `os.cpu_count()` says that number.

nnU-Net gives a training on a CPU, and its loaders, as many threads as `cpu_count()` says; it asks nobody else. Python imports
this module at its start from the first folder of PYTHONPATH that has one, also in every worker process. The user's own
`sitecustomize`, if there is one behind it, is run, too.

Measured and left: OMP_THREAD_LIMIT (oneDNN's convolutions then return NaN) and the processor affinity (as many threads).
"""

import importlib.machinery
import importlib.util
import os
import sys

_COUNT = os.environ.get("PYTHON_CPU_COUNT", "")


def cpu_count() -> int:
    """What the variable says; a function with a name, so that it can be sent to workers."""
    return int(_COUNT)


def _next() -> None:
    # Without pathlib, which would cost every process's start.
    here = os.path.realpath(os.path.dirname(__file__))  # noqa: PTH120
    others = [entry for entry in sys.path if os.path.realpath(entry or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if sys.version_info < (3, 13) and _COUNT.isdecimal() and int(_COUNT) > 0:
    os.cpu_count = cpu_count
_next()
