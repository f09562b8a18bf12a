"""Worker processes: all results, and a clear word when one is killed."""

from __future__ import annotations

import math
import os

import pytest

from dataset_conversion.errors import ConversionError
from dataset_conversion.parallel import run


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_has_its_result(workers: int) -> None:
    assert sorted(run(math.factorial, [3, 1, 4, 5], workers, "test")) == [1, 6, 24, 120]


def test_killed_worker() -> None:
    with pytest.raises(ConversionError, match=r"test: a worker process was killed, .* use a smaller -np"):
        list(run(os._exit, [1, 1, 1], 2, "test"))


@pytest.mark.parametrize("workers", [1, 2])
def test_unexpected_error_is_not_swallowed(workers: int) -> None:
    with pytest.raises(ValueError, match="factorial"):
        list(run(math.factorial, [1, -1, 2], workers, "test"))
